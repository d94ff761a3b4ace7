#pragma once
#include <functional>
#include <map>
#include <string>

#include "comparison.h"

namespace cohort::golden_check {

/// Compares all that a file of one kind has.
using Check = std::function<void(Comparison&)>;

/// By the kind that a file names in its metadata. A method, loss or model adds its line here.
const std::map<std::string, Check>& checks();

// detection.cpp
void check_suppression(Comparison& file);
void check_detection_metrics(Comparison& file);

// domains.cpp
void check_dal_losses(Comparison& file);
void check_dal_multi_domain(Comparison& file);
void check_dal_schedules(Comparison& file);

// masked.cpp
void check_masking(Comparison& file);
void check_positions(Comparison& file);
void check_two_view_losses(Comparison& file);
void check_linear_probe_lars(Comparison& file);
void check_layer_decay(Comparison& file);
void check_mae_finetune(Comparison& file);

// information.cpp
void check_information(Comparison& file);
void check_regularizer_ranks(Comparison& file);

// mae.cpp
void check_fourier(Comparison& file);
void check_mae(Comparison& file);
void check_mae_regularized(Comparison& file);
void check_mae_steps(Comparison& file);

// yolo.cpp
void check_yolo_loss(Comparison& file);
void check_yolo_net(Comparison& file);

// segmentation_scores.cpp
void check_segmentation_scores(Comparison& file);

// dense.cpp
void check_mask_transformer(Comparison& file);

// segmentation.cpp
void check_seg_linear(Comparison& file);
void check_seg_unet(Comparison& file);

// metrics.cpp
void check_metrics(Comparison& file);
void check_supervised_multilabel(Comparison& file);

// scored_tasks.cpp
void check_flip_scores(Comparison& file);
void check_retrieval(Comparison& file);
void check_matching_eval(Comparison& file);

// small_data.cpp
void check_simclr(Comparison& file);
void check_byol(Comparison& file);
void check_simsiam(Comparison& file);
void check_contrast_scopes(Comparison& file);
void check_resnet(Comparison& file);
void check_deit(Comparison& file);
void check_pos_resize(Comparison& file);

// corruption.cpp
void check_corruption(Comparison& file);
void check_csit_losses(Comparison& file);

// small_data_encoders.cpp
void check_cct(Comparison& file);
void check_csit_seqpool(Comparison& file);
void check_pvtv2(Comparison& file);
// image_text_losses.cpp
void check_p_matrix(Comparison& file);
void check_global_ntxent(Comparison& file);
void check_local_losses(Comparison& file);

// reports.cpp
void check_bert(Comparison& file);
void check_sentence_pooling(Comparison& file);
void check_lovt_core(Comparison& file);
void check_image_text(Comparison& file);

// studies.cpp
void check_folds(Comparison& file);
void check_runs_interval(Comparison& file);
void check_schedules(Comparison& file);

// text.cpp
void check_byte_pair(Comparison& file);
void check_collate(Comparison& file);
void check_word_piece(Comparison& file);

}  // namespace cohort::golden_check
