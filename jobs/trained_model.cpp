#include "trained_model.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "cohort/checkpoint/export.h"
#include "cohort/checkpoint/safetensors.h"
#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/eval/weights.h"
#include "cohort/method/registry.h"
#include "cohort/train/model.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

train::RunConfig read_config(const ModelSource& source) {
  const fs::path file = source.run.empty() ? fs::path(source.config) : config_of_run(source.run);
  std::vector<std::string> overrides = source.overrides;
  overrides.emplace_back("model.weights=");
  // A run's own path may be needed to know what it was trained on; a configuration need not have one.
  if (source.run.empty() && !source.data.empty()) overrides.push_back("data.path=" + source.data);
  return train::load_run_config(file, overrides);
}

/// Where the weights are, and what they say of the data that they were trained on.
struct Stored {
  std::optional<checkpoint::Store> store;  ///< of a run
  std::string prefix;
  checkpoint::Safetensors file;  ///< without a run
  std::optional<data::Signature> signature;
};

fs::path checkpoints_of(const ModelSource& source) {
  return fs::path(source.run) / "checkpoints";
}

/// Collective. Rank 0 chooses: a run that is at work makes and removes checkpoints meanwhile.
std::int64_t same_step(const ModelSource& source, comm::Communicator& ranks) {
  std::int64_t step = 0;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0 && !source.run.empty())
      step = chosen_step(source.step, checkpoint::Store(checkpoints_of(source), ranks), source.run);
  });
  return ranks.max(step);
}

Stored find_stored(const ModelSource& source, const TrainedModel& trained, comm::Communicator& ranks) {
  Stored stored;
  if (source.run.empty()) {
    stored.file = checkpoint::read_safetensors(source.weights);
    stored.signature = eval::signature_in(stored.file, source.weights);
    return stored;
  }
  stored.store.emplace(checkpoints_of(source), ranks);
  const checkpoint::Contents contents = stored.store->contents(trained.step);
  stored.prefix = train::encoder_prefix(contents, source.part);
  const std::string& known = contents.meta.trained_on;
  if (!known.empty())
    stored.signature = data::parse_signature(known, stored.store->path_of(trained.step).string());
  return stored;
}

/// Collective. Whether rank 0 sees a dataset there.
bool is_dataset(const fs::path& folder, comm::Communicator& ranks) {
  std::error_code error;
  return ranks.max(std::int64_t{ranks.rank() == 0 && fs::exists(folder / "dataset.json", error)}) > 0;
}

/// Collective. What a model of an older program was trained on, judged by the dataset of its configuration
/// (`trained_at`), or else by that to work on (null: images that are none).
data::Signature assumed_signature(const ModelSource& source, const TrainedModel& trained, bool with_head,
                                  const data::Description* description, const fs::path& trained_at,
                                  comm::Communicator& ranks) {
  const bool has_own = (!source.run.empty() || description == nullptr) && is_dataset(trained_at, ranks);
  comm::together(ranks, [&] {
    if (has_own || description != nullptr) return;
    throw UsageError({"the weights do not say what images they were trained on",
                      source.run.empty() ? source.weights : source.run,
                      "make a dataset of the images with cohort-data convert, as for training"});
  });
  if (!source.data.empty() && !has_own) {
    log_warning(
        fmt::format("{} does not say what it was trained on: classes, context values and channels are "
                    "taken to be those of {}, in their order",
                    source.run.empty() ? source.weights : source.run, source.data));
  }
  const data::Description known = has_own ? data::Description::read(trained_at, ranks) : *description;
  data::Signature signature;
  comm::together(ranks, [&] {
    const data::Description seen = data::with_channels(known, trained.config.data.channels);
    signature = with_head ? train::signature_of(trained.config, seen)
                          : data::signature_of(seen, "", trained.config.context.keys);
  });
  return signature;
}

bool wants_head(const train::RunConfig& config, Head head) {
  const bool learns_classes = config.method.traits().learns_classes;
  if (head == Head::needed && !learns_classes) {
    throw UsageError(
        {fmt::format("the model has no head to score: {} learns no classes", config.method.name()),
         "command line",
         "judge its features with cohort knn or cohort probe, or write them with cohort extract"});
  }
  return head == Head::needed || (head == Head::where_there_is && learns_classes);
}

/// Whether a tensor of the model has to move to be in these words.
bool moves(const train::RunConfig& config, const data::Signature& model, const data::Signature& words) {
  if (model.channels != words.channels) return true;
  if (!train::has_dictionary(config.context)) return false;
  return !std::equal(model.contexts.begin(), model.contexts.end(), words.contexts.begin(),
                     [](const auto& a, const auto& b) { return a.values == b.values; });
}

std::shared_ptr<nn::Encoder> model_in(const train::RunConfig& config, const data::Signature& words,
                                      const checkpoint::Safetensors& weights, const std::string& where) {
  auto model = train::build_model(config, words);
  if (eval::load_weights(*model, weights, where, &words)) return model;
  throw DataError({fmt::format("the weights have no head for the dataset's {} classes", words.classes.size()),
                   where,
                   "use a dataset with the classes of training, or cohort extract, which needs no head"});
}

/// Collective.
std::shared_ptr<nn::Encoder> load_model(const ModelSource& source, const TrainedModel& trained,
                                        Stored& stored, const data::Signature& words,
                                        comm::Communicator& ranks) {
  std::shared_ptr<nn::Encoder> model;
  comm::together(ranks, [&] {
    model = stored.store ? train::build_model(trained.config, trained.signature)
                         : model_in(trained.config, words, stored.file, source.weights);
  });
  if (!stored.store) return model;
  train::load_checkpoint_weights(*model, *stored.store, trained.step, stored.prefix);
  if (!moves(trained.config, trained.signature, words)) return model;
  comm::together(ranks, [&] {
    checkpoint::Safetensors weights = eval::weights_of(*model);
    weights.metadata[checkpoint::kTrainedOn] = data::signature_text(trained.signature);
    model = model_in(trained.config, words, weights, source.run);
  });
  return model;
}

/// "gray 101.2 ± 33.1", of many channels the first ones.
std::string statistics_text(const data::Signature& words) {
  std::vector<std::string> channels;
  for (std::size_t c = 0; c < words.channels.size(); ++c)
    channels.push_back(
        fmt::format("{} {:.4g} ± {:.4g}", words.channels[c], words.mean[c], words.deviation[c]));
  return list_of(channels);
}

void check_type(const data::Signature& model, const data::Description& description) {
  if (model.images.type == description.images.type) return;
  throw UsageError(
      {fmt::format(
           "the model was trained on pixels of type {}, the dataset has {}: its mean and deviation do not "
           "serve",
           data::pixel_type_name(model.images.type), data::pixel_type_name(description.images.type)),
       fmt::format("dataset {}", description.name), "give --normalisation data, or convert the images anew"});
}

/// Decides whose statistics pixels are normalised with, and says so.
void choose_statistics(const ModelSource& source, bool is_known, const data::Signature& words,
                       const data::Description& description, TrainedModel& trained) {
  if (trained.config.data.normalisation != augment::Normalisation::dataset) {
    log_info(fmt::format("pixels are normalised as in training: {}",
                         trained.config.data.normalisation == augment::Normalisation::image
                             ? "each image with its own mean and deviation"
                             : "with those of ImageNet"));
    return;
  }
  if (source.normalisation == "data" || !is_known || words.mean.empty()) {
    log_info(fmt::format("pixels are normalised with mean and deviation of the dataset {}{}",
                         description.name,
                         source.normalisation == "data" ? "" : ": those of training are not known"));
    return;
  }
  check_type(words, description);
  trained.mean = words.mean;
  trained.deviation = words.deviation;
  log_info("pixels are normalised with mean and deviation of the model's training: " +
           statistics_text(words));
}

/// Images that are no dataset have no statistics of their own.
void check_statistics(const TrainedModel& trained, const data::Signature& words, const ModelSource& source) {
  const bool uses_them = trained.config.data.normalisation == augment::Normalisation::dataset;
  if (!uses_them || (!words.mean.empty() && source.normalisation == "model")) return;
  throw UsageError(
      {"images that are no dataset have no mean and deviation of their own",
       source.normalisation == "model" ? "the weights do not say those of training" : "--normalisation data",
       "make a dataset of the images with cohort-data convert"});
}

/// Of the dataset those that the model knows: of data.channels, else all. A ChannelViT does without some.
std::vector<std::string> channels_to_see(const TrainedModel& trained, const data::Description& description) {
  const std::vector<std::string>& known = trained.signature.channels;
  const std::vector<std::string>& asked = trained.config.data.channels;
  std::vector<std::string> seen =
      asked.empty() ? description.channels : data::channels_named(asked, known, "data.channels");
  const auto is_in = [](const std::vector<std::string>& names) {
    return
        [&](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  };
  std::erase_if(seen, std::not_fn(is_in(known)));
  std::erase_if(seen, std::not_fn(is_in(description.channels)));
  if (seen.size() == known.size()) return seen;
  if (seen.empty() || trained.config.model.family != nn::Family::channelvit)
    return description.channels;  // which in_words_of() refuses
  std::vector<std::string> missing = known;
  std::erase_if(missing, is_in(seen));
  log_info(fmt::format("the model goes without {} of its {} channels: {}", missing.size(), known.size(),
                       list_of(missing)));
  return seen;
}

/// What the model knows of the channels that it sees.
data::Signature model_of_channels(const TrainedModel& trained) {
  const bool is_part = trained.channels.size() < trained.signature.channels.size();
  return is_part && trained.config.model.family == nn::Family::channelvit
             ? data::with_channels(trained.signature, trained.channels)
             : trained.signature;
}

/// The label that the model learnt, unless the command line or the configuration names one.
void choose_label(Head head, const data::Description& description, TrainedModel& trained) {
  const std::string& learnt = trained.signature.label;
  const bool has_label = std::any_of(description.labels.begin(), description.labels.end(),
                                     [&](const data::LabelColumn& column) { return column.name == learnt; });
  if (trained.config.data.label.empty() && (has_label || head == Head::needed))
    trained.config.data.label = learnt;
}

/// Images of another size have another grid, to which the position table is interpolated.
void check_size(const TrainedModel& trained, const data::Description& description) {
  const data::ImageLayout& images = description.images;
  nn::check_encoder(trained.config.model,
                    {images.channels, images.height, images.width, 0, trained.config.context, {}});
  const data::ImageLayout& known = trained.signature.images;
  if (known.height == 0 || (known.height == images.height && known.width == images.width)) return;
  log_warning(fmt::format(
      "the model was trained on images of {} x {}, these have {} x {}: what it says of them may be "
      "far off; convert them with --resize {}x{}",
      known.height, known.width, images.height, images.width, known.height, known.width));
}

/// Its channels, normalised as the model's.
void show(const TrainedModel& trained, data::Dataset& dataset) {
  dataset.choose_channels(trained.channels);
  if (!trained.mean.empty()) dataset.use_statistics(trained.mean, trained.deviation);
}

void refuse_unfit(const TrainedModel& trained, const data::Dataset& dataset) {
  if (const auto why_not = train::obstacle(trained.config, dataset, trained.signature))
    throw UsageError(*why_not);
}

/// Collective.
data::Dataset open_plain(const TrainedModel& trained, const std::string& split,
                         const std::vector<std::string>& labels, comm::Communicator& ranks) {
  const auto wanted = [&](const data::Description& description) {
    std::vector<std::string> needed;
    for (const std::string& label : labels) {
      if (description.has_label(label)) needed.push_back(label);
    }
    return needed;
  };
  data::Dataset dataset = data::Dataset::open(trained.config.data.path, split, wanted, ranks);
  comm::together(ranks, [&] { show(trained, dataset); });
  return dataset;
}

/// Those asked for, else all but `besides`.
std::vector<std::string> names_to_score(const data::Description& description,
                                        const std::vector<std::string>& asked, const std::string& besides) {
  std::vector<std::string> names = asked;
  if (names.empty()) {
    for (const data::Split& split : description.splits) {
      if (split.name != besides) names.push_back(split.name);
    }
  }
  return data::with_images(description, names);
}

}  // namespace

TrainedModel load_trained_model(const ModelSource& source, Head head, comm::Communicator& ranks) {
  return load_trained_model(source, head, ranks, nullptr);
}

TrainedModel load_trained_model(const ModelSource& source, Head head, comm::Communicator& ranks,
                                const DescriptionOf& describe) {
  TrainedModel trained;
  Stored stored;
  bool with_head = false;
  comm::together(ranks, [&] {
    if (source.run.empty() && source.weights.empty()) {
      throw UsageError(
          {"which model?", "command line", "give --run RUN, or --weights FILE with --model CONFIG"});
    }
    trained.config = read_config(source);
    with_head = wants_head(trained.config, head);
  });
  trained.step = same_step(source, ranks);
  comm::together(ranks, [&] { stored = find_stored(source, trained, ranks); });
  const fs::path trained_at = trained.config.data.path;
  if (!source.data.empty()) trained.config.data.path = source.data;
  std::optional<data::Description> dataset;
  if (!describe) dataset = data::Description::read(trained.config.data.path, ranks);
  trained.signature = stored.signature ? *stored.signature
                                       : assumed_signature(source, trained, with_head,
                                                           dataset ? &*dataset : nullptr, trained_at, ranks);
  const data::Description whole =
      dataset ? *std::move(dataset) : describe(trained.signature, !trained.config.data.channels.empty());
  data::Signature words;
  comm::together(ranks, [&] {
    trained.channels = channels_to_see(trained, whole);
    const data::Description description = data::with_channels(whole, trained.channels);
    if (!with_head) trained.signature.classes.clear();
    if (head == Head::needed && trained.signature.classes.empty()) {
      throw DataError({"the weights have no head to score", source.run.empty() ? source.weights : source.run,
                       "write its features with cohort extract"});
    }
    check_size(trained, description);
    words = data::in_words_of(description, model_of_channels(trained));
    choose_label(head, description, trained);
    if (describe) check_statistics(trained, words, source);
    choose_statistics(source, describe || stored.signature.has_value(), words, description, trained);
  });
  trained.model = load_model(source, trained, stored, words, ranks);
  trained.model->to(train::use_device(trained.config.device, ranks));
  return trained;
}

void make_fit(const TrainedModel& trained, data::Dataset& dataset) {
  show(trained, dataset);
  refuse_unfit(trained, dataset);
}

data::Dataset open_split(const TrainedModel& trained, const std::string& split,
                         const std::vector<std::string>& labels, comm::Communicator& ranks) {
  data::Dataset dataset = open_plain(trained, split, labels, ranks);
  comm::together(ranks, [&] { refuse_unfit(trained, dataset); });
  return dataset;
}

data::ColumnReader columns_of(const TrainedModel& trained, const std::string& split,
                              comm::Communicator& ranks) {
  const std::filesystem::path& folder = trained.config.data.path;
  return {folder, data::Description::read(folder, ranks), split};
}

train::SplitCounts counts_of(const TrainedModel& trained, const std::string& split, const std::string& column,
                             comm::Communicator& ranks) {
  data::ColumnReader reader = columns_of(trained, split, ranks);
  return {split, data::count_values(reader, column, ranks)};
}

std::vector<ScoredSplit> open_scored_splits(const TrainedModel& trained,
                                            const std::vector<std::string>& asked, const std::string& besides,
                                            const std::string& label, comm::Communicator& ranks) {
  const data::Description description = data::Description::read(trained.config.data.path, ranks);
  std::vector<std::string> names;
  comm::together(ranks, [&] { names = names_to_score(description, asked, besides); });
  std::vector<ScoredSplit> splits;
  for (const std::string& name : names) {
    data::Dataset dataset = open_plain(trained, name, {}, ranks);
    train::SplitCounts counts = counts_of(trained, name, label, ranks);
    comm::together(ranks, [&] {
      auto why_not = train::obstacle(trained.config, dataset, trained.signature);
      if (!why_not) why_not = train::obstacle_to_score(trained.config, counts, label);
      if (why_not && !asked.empty()) throw UsageError(*why_not);
      if (why_not) return log_warning("passed over: " + why_not->text().what);
      splits.push_back({std::move(dataset), std::move(counts)});
    });
  }
  comm::together(ranks, [&] {
    if (!splits.empty()) return;
    throw UsageError({"the dataset has no split to score", trained.config.data.path.string(),
                      "give --split NAME; cohort-data inspect lists the splits"});
  });
  return splits;
}

}  // namespace cohort::jobs
