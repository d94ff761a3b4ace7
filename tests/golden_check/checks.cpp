#include "checks.h"

namespace cohort::golden_check {

const std::map<std::string, Check>& checks() {
  static const std::map<std::string, Check> table{
      {"clip.bpe", check_byte_pair},
      {"clip.flip_scores", check_flip_scores},
      {"clip.retrieval", check_retrieval},
      {"dense.mask_transformer", check_mask_transformer},
      {"dense.matching_eval", check_matching_eval},
      {"dense.segmentation_scores", check_segmentation_scores},
      {"domains.dal_losses", check_dal_losses},
      {"domains.dal_multi_domain", check_dal_multi_domain},
      {"domains.dal_schedules", check_dal_schedules},
      {"masked.fourier", check_fourier},
      {"masked.information", check_information},
      {"masked.layer_decay", check_layer_decay},
      {"masked.linear_probe_lars", check_linear_probe_lars},
      {"masked.m_mae", check_mae_regularized},
      {"masked.mae", check_mae},
      {"masked.mae_finetune", check_mae_finetune},
      {"masked.mae_steps", check_mae_steps},
      {"masked.masking", check_masking},
      {"masked.positions", check_positions},
      {"masked.regularizer_ranks", check_regularizer_ranks},
      {"masked.two_view_losses", check_two_view_losses},
      {"masked.u_mae", check_mae_regularized},
      {"reports.collate", check_collate},
      {"reports.detection_metrics", check_detection_metrics},
      {"reports.nms", check_suppression},
      {"reports.runs_interval", check_runs_interval},
      {"reports.schedules", check_schedules},
      {"reports.seg_linear", check_seg_linear},
      {"reports.seg_unet", check_seg_unet},
      {"reports.supervised_multilabel", check_supervised_multilabel},
      {"reports.wordpiece", check_word_piece},
      {"reports.yolo_loss", check_yolo_loss},
      {"reports.yolo_net", check_yolo_net},
      {"small_data.byol", check_byol},
      {"small_data.contrast_scopes", check_contrast_scopes},
      {"small_data.deit_mini", check_deit},
      {"small_data.folds", check_folds},
      {"small_data.metrics", check_metrics},
      {"small_data.pos_resize", check_pos_resize},
      {"small_data.resnet", check_resnet},
      {"small_data.simclr", check_simclr},
      {"small_data.simsiam", check_simsiam},
  };
  return table;
}

}  // namespace cohort::golden_check
