#include "cohort/train/run_config.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/config/load.h"
#include "cohort/config/recipes.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/method/registry.h"
#include "cohort/nn/encoders.h"

#include "train/stop_signal.h"

namespace cohort::train {
namespace {

constexpr std::string_view kNoGroups = "none";

constexpr std::string_view kDocumentHead = R"(# Configuration

Every key of `cohort train`, from the option structs of the code. This file is generated: `cohort docs config > docs/config.md`;
a test holds it in step. On the command line a key is overridden as `optimizer.lr=1e-3`; `cohort train CONFIG --print-config`
shows every value and where it came from.

)";

method::Surroundings surroundings(const RunConfig& config) {
  return {.reproducible = config.reproducible,
          .micro_batches = config.train.micro_batches,
          .channel_sampling = config.model.channel_sampling,
          .images_per_group = config.sampler.images_per_group};
}

void validate_context(const RunConfig& config, const std::string& where) {
  const auto& keys = config.context.keys;
  const bool needs_groups = !keys.empty() && config.context.scope == nn::Scope::group &&
                            !nn::is_dictionary(config.context.amortization);
  if (needs_groups && config.sampler.group_by == kNoGroups) {
    throw UsageError(
        {"sampler.group_by is 'none', so that a group mixes contexts and none of them has a token of its own",
         where, fmt::format("set sampler.group_by={}, or context.scope=global", keys.front())});
  }
}

void validate_micro_batches(const RunConfig& config, const std::string& where) {
  const bool across_groups = !config.context.keys.empty() && config.context.scope == nn::Scope::global &&
                             !nn::is_dictionary(config.context.amortization);
  if (surroundings(config).divides_steps() && across_groups) {
    throw UsageError(
        {fmt::format("context.scope is 'global', so that tokens need all images of a step at once, but {}",
                     surroundings(config).why_divided()),
         where, "set context.scope=group"});
  }
  if (config.reproducible && config.train.micro_batches > 1) {
    throw UsageError({"reproducible makes each group a micro-batch, but train.micro_batches is set as well",
                      where, "leave out train.micro_batches"});
  }
}

void validate_sampler(const RunConfig& config, const std::string& where) {
  const data::SamplerConfig& sampler = config.sampler;
  if (sampler.order != data::GroupOrder::cells) return;
  const bool balances = sampler.balance_labels || sampler.balance != data::SamplerConfig{}.balance;
  if (!balances && sampler.small_contexts != data::SmallContexts::merge) return;
  throw UsageError(
      {fmt::format(
           "sampler.order is 'cells', where all contexts and classes come equally often, but {} is set",
           sampler.balance_labels ? "sampler.balance_labels"
           : balances             ? "sampler.balance"
                                  : "sampler.small_contexts=merge"),
       where, "leave it out, or set sampler.order=shuffled"});
}

void validate_sharding(const RunConfig& config, const std::string& where) {
  const shard::ShardingConfig& sharding = config.sharding;
  if (sharding.gather == shard::WireType::bf16 && config.precision != Precision::bf16) {
    throw UsageError({"sharding.gather is bf16, but precision is fp32", where,
                      "set precision=bf16, or sharding.gather=fp32"});
  }
  if (config.reproducible && sharding.reduce == shard::WireType::bf16) {
    throw UsageError({"sharding.reduce is bf16, but reproducible adds gradients in fp32", where,
                      "set sharding.reduce=fp32"});
  }
}

void validate_method(const RunConfig& config, const std::string& where) {
  const auto check = config.method.entry().check;
  if (check == nullptr) return;
  check(config.method.options(), surroundings(config), where);
}

/// The option batch_norm, if the family of the encoder has one.
bool shares_statistics_of_all(nn::ModelConfig model) {
  const std::string key = fmt::format("{}.batch_norm", nn::encoder_family(model.name).section);
  const std::vector<std::string> all{std::string(config::enum_name(nn::NormScope::all))};
  const config::Fields fields(model);
  return std::any_of(fields.list().begin(), fields.list().end(),
                     [&](const config::Field& field) { return field.key == key && field.get() == all; });
}

void validate_batch_norm(const RunConfig& config, const std::string& where) {
  const method::Surroundings run = surroundings(config);
  if (!run.divides_steps() || !shares_statistics_of_all(config.model)) return;
  const std::string_view section = nn::encoder_family(config.model.name).section;
  throw UsageError({fmt::format("model.{}.batch_norm=all needs all images of a step at once, but {}", section,
                                run.why_divided()),
                    where, fmt::format("set model.{}.batch_norm=group", section)});
}

void validate_evaluation(const RunConfig& config, const std::string& where) {
  if (!config.eval.neighbours.empty()) return;
  const method::Traits traits = config.method.traits();
  if (!config.eval.splits.empty() && !traits.learns_classes && traits.task.empty()) {
    throw UsageError(
        {fmt::format("eval.splits names splits to score, but {} learns no classes", config.method.name()),
         where, "set eval.neighbours=[20] to score its features, or leave out eval.splits"});
  }
  if (config.eval.neighbours_of.empty()) return;
  throw UsageError({fmt::format("eval.neighbours_of is '{}', but eval.neighbours is empty: nobody is asked",
                                config.eval.neighbours_of),
                    where, "set eval.neighbours=[20] as well"});
}

bool comes_with_the_program(const std::string& preset) {
  const std::vector<std::string> names = augment::preset_names();
  return std::find(names.begin(), names.end(), preset) != names.end();
}

void validate_views(const RunConfig& config, const std::string& where) {
  const augment::ViewConfig& views = config.augment;
  const bool is_table = !comes_with_the_program(views.preset);
  if (!is_table && !(views.policy.global.empty() && views.policy.local.empty())) {
    throw UsageError(
        {fmt::format("augment.policy has a table of operations, but augment.preset is '{}'", views.preset),
         where, "give the table a name, augment.preset=mine, or leave it out"});
  }
  if (views.preset == augment::kWholeImage) return;
  if (is_table) augment::check(views.policy);
  const method::Traits traits = config.method.traits();
  const std::int64_t local = augment::local_crops(views);
  if (!traits.takes_crops && (!is_table || local > 0)) {
    throw UsageError({fmt::format("augment.preset is '{}', whose crops method={} does not take", views.preset,
                                  config.method.name()),
                      where, "set augment.preset=whole, or another method"});
  }
  const std::int64_t crops = (is_table ? traits.views : augment::kGlobalCrops) + local;
  if (traits.most_views == 0 || crops <= traits.most_views) return;
  throw UsageError({fmt::format("method={} learns from {} views of an image, augment.preset '{}' makes {}",
                                config.method.name(), traits.most_views, views.preset, crops),
                    where, "set augment.multi_crop.local_crops=0"});
}

void validate_trace(const RunConfig& config, const std::string& where) {
  const std::vector<std::int64_t>& steps = config.train.trace.steps;
  if (steps.empty() || (steps.size() == 2 && steps.front() <= steps.back())) return;
  throw UsageError(
      {fmt::format("train.trace.steps is [{}], which is not a first and a last step", fmt::join(steps, ", ")),
       where, "set train.trace.steps=[10,12] to trace the steps 10, 11 and 12"});
}

void validate_stop(const RunConfig& config, const std::string& where) {
  for (const std::string& name : config.train.stop.signals) {
    if (stop_signal_number(name)) continue;
    throw UsageError({fmt::format("train.stop.signals names '{}', which is no signal to stop by", name),
                      where, did_you_mean(name, stop_signal_names())});
  }
}

}  // namespace

std::span<const config::EnumName<Precision>> enum_names(Precision) {
  static constexpr std::array<config::EnumName<Precision>, 2> names{
      {{Precision::fp32, "fp32"}, {Precision::bf16, "bf16"}}};
  return names;
}

std::span<const config::EnumName<OnTrouble>> enum_names(OnTrouble) {
  static constexpr std::array<config::EnumName<OnTrouble>, 3> names{
      {{OnTrouble::stop, "stop"}, {OnTrouble::skip, "skip"}, {OnTrouble::rollback, "rollback"}}};
  return names;
}

void validate(const RunConfig& config, const std::string& where) {
  if (config.data.path.empty()) {
    throw UsageError({"data.path is empty: there is nothing to train on", where,
                      "set data.path=FOLDER, a folder with dataset.json"});
  }
  if (config.schedule.lr_end > config.optimizer.lr) {
    throw UsageError({fmt::format("schedule.lr_end ({:g}) is above optimizer.lr ({:g})",
                                  config.schedule.lr_end, config.optimizer.lr),
                      where,
                      "the learning rate falls from optimizer.lr to schedule.lr_end: lower the latter"});
  }
  if (config.resume.empty()) {
    throw UsageError({"resume is empty", where, "set resume to auto, never, or the folder of a checkpoint"});
  }
  (void)shard::configured_rules(config.optimizer);
  validate_context(config, where);
  validate_micro_batches(config, where);
  validate_sampler(config, where);
  validate_sharding(config, where);
  validate_trace(config, where);
  validate_stop(config, where);
  validate_method(config, where);
  validate_batch_norm(config, where);
  validate_evaluation(config, where);
  validate_views(config, where);
}

namespace {

/// Recipes that have tables of operations stand in this folder of them.
constexpr std::string_view kTables = "augment/";
constexpr std::string_view kDefault = "default", kCommandLine = "command line";  // config::Field::origin

/// A name stands before a file that is called like it, which may lie in the folder by chance: ./NAME is the
/// file.
std::filesystem::path file_of_preset(const std::string& preset, const std::string& where) {
  std::vector<std::string> names = augment::preset_names();
  for (const config::Recipe& recipe : config::recipes()) {
    if (!recipe.name.starts_with(kTables)) continue;
    names.push_back(recipe.name.substr(kTables.size()));
    if (names.back() == preset) return recipe.file;
  }
  std::error_code ignored;
  if (std::filesystem::is_regular_file(preset, ignored)) return preset;
  throw UsageError({fmt::format("augment.preset is '{}', which is neither a preset nor a file", preset),
                    where, did_you_mean(preset, names)});
}

bool is_part_of_a_preset(const std::string& key) {
  return key.starts_with("augment.policy.") || key.starts_with("augment.multi_crop.");
}

/// The table of operations that augment.preset names: from its file what the configuration leaves open.
void read_preset(const augment::ViewConfig& views, config::Fields& fields) {
  if (comes_with_the_program(views.preset)) return;
  const std::string &where = fields.find("augment.preset")->origin,
                    &table = fields.find("augment.policy.global")->origin;
  if (!views.policy.global.empty()) {
    if (where != kCommandLine || table == kCommandLine) return;
    throw UsageError({fmt::format("augment.preset={} is given, but the configuration has a table of its own",
                                  views.preset),
                      table, "leave one of them out: augment.policy.global=[] augment.policy.local=[] does"});
  }
  const std::filesystem::path file = file_of_preset(views.preset, where);
  RunConfig other;
  config::Fields found(other);
  config::load(file, found);
  if (other.augment.policy.global.empty()) {
    throw UsageError({fmt::format("augment.preset is '{}', but {} has no augment.policy.global", views.preset,
                                  file.string()),
                      where, "name a file with a table of operations (docs/views.md)"});
  }
  for (const config::Field& field : found.list()) {
    config::Field* const mine = fields.find(field.key);
    if (!is_part_of_a_preset(field.key) || field.origin == kDefault || mine->origin != kDefault) continue;
    mine->set(field.get());
    mine->origin = field.origin;
  }
}

}  // namespace

ConfigFile::ConfigFile(const std::filesystem::path& file, std::span<const std::string> overrides) {
  const std::filesystem::path found = config::find_config(file);
  config::load(found, fields);
  config::override_with(overrides, fields);
  read_preset(values.augment, fields);
  if (values.run_dir.empty()) values.run_dir = std::filesystem::path("runs") / found.stem();
  validate(values, found.string());
}

RunConfig load_run_config(const std::filesystem::path& file, std::span<const std::string> overrides) {
  return ConfigFile(file, overrides).values;
}

std::string dump_run_config(const RunConfig& config) {
  RunConfig copy = config;
  return config::dump(config::Fields(copy), false);
}

std::string dump_with_absolute_paths(const RunConfig& config) {
  RunConfig copy = config;
  for (std::filesystem::path* path : {&copy.run_dir, &copy.data.path, &copy.model.weights}) {
    if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal();
  }
  config::Fields fields(copy);
  for (const method::Entry& entry : method::registry()) {
    if (entry.name != config.method.name()) fields.remove_section(entry.name);
  }
  return config::dump(fields, false);
}

std::string config_document() {
  RunConfig defaults;
  return std::string(kDocumentHead) + config::markdown(config::Fields(defaults));
}

std::string training_group_key(const RunConfig& config) {
  const std::string& key = config.sampler.group_by;
  if (key == kNoGroups) return "";
  if (!key.empty()) return key;
  return config.context.keys.empty() ? "" : config.context.keys.front();
}

}  // namespace cohort::train
