// Scores answers as a task does, for tests in Python (tests/python/score_task.py):
//   [mpirun -n RANKS] score_task FOLDER
// Each of the files FOLDER/0, FOLDER/1 … that appear there has "FILE [OPTION=VALUE…]", separated by tabs; the
// scorecard is printed as one line of JSON, with all digits. An empty one ends the program. FILE: safetensors
// of N images; options are those of eval.task.
//   row          [N] i64       numbers of the images; absent: 0 … N-1
//   context      [N, keys] i32 each a number of the values of its key; absent: no contexts
//   target       [N, …]        the field; of rows that differ in length [sum, …] with
//   target_offsets [N+1] i64
//   answer.NAME  [N, …] f32    of rows that differ [sum, …] with answer.NAME_offsets [N+1] i64, which a task
//                              gets as an answer NAME_offsets [n+1], from 0 on
// Metadata "json": {"task": …, "names": [of classes], "keys": [{"name": …, "values": […]}], "pass": images}.
// Passes of so many images go to ranks in turn, the last ones first.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/comm/session.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/eval/task.h"

#include "eval/running_scores.h"
#include "support/json.h"
#include "support/options.h"

namespace cohort::eval {
namespace {

/// Images `first` … of a file.
struct Stretch {
  std::int64_t first = 0, count = 0;
};

class Images {
 public:
  explicit Images(const std::string& path)
      : file_(checkpoint::read_safetensors(path)), about_(Json::parse(file_.metadata.at("json"))) {
    const at::Tensor *rows = file_.find("row"), *offsets = file_.find("target_offsets");
    count_ = rows != nullptr      ? rows->size(0)
             : offsets != nullptr ? offsets->size(0) - 1
                                  : file_.find("target")->size(0);
    rows_ = rows != nullptr ? rows->clone() : at::arange(count_, at::kLong);
  }

  [[nodiscard]] std::int64_t count() const noexcept { return count_; }
  [[nodiscard]] std::int64_t of_a_pass() const { return about_.value("pass", std::int64_t{7}); }
  [[nodiscard]] std::string task() const { return about_.at("task"); }

  [[nodiscard]] TaskInput input(data::FieldKind kind, const TaskConfig& config) const {
    const at::Tensor target = file_.find("target")->clone();
    const bool differs = file_.find("target_offsets") != nullptr;
    data::Field field{"target", kind, type_of(target), {target.sizes().begin() + 1, target.sizes().end()}};
    if (differs) field.shape.insert(field.shape.begin(), -1);
    field.names = about_.value("names", std::vector<std::string>{});
    return {field, field.names, contexts(), count_, config};
  }

  [[nodiscard]] ContextNames contexts() const {
    ContextNames names;
    for (const Json& key : about_.value("keys", Json::array())) {
      const auto values = key.at("values").get<std::vector<std::string>>();
      names.keys.push_back({key.at("name"), names.values.size(), values.size()});
      names.values.insert(names.values.end(), values.begin(), values.end());
    }
    return names;
  }

  /// Hands images to `use(rows, contexts, answers, target)`.
  template <class Use>
  void pass(const Stretch& stretch, const Use& use) const {
    const at::Tensor rows = rows_.narrow(0, stretch.first, stretch.count).contiguous();
    const std::vector<std::int32_t> contexts = numbers_of_contexts(stretch);
    method::Answers answers;
    for (const auto& [name, values] : file_.tensors) {
      if (name.rfind("answer.", 0) != 0 || name.ends_with("_offsets")) continue;
      const data::Column column = part(name, stretch);
      answers[name.substr(7)] = column.values;
      if (column.offsets.defined()) answers[name.substr(7) + "_offsets"] = column.offsets;
    }
    use(std::span(rows.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(stretch.count)), contexts,
        answers, part("target", stretch));
  }

 private:
  static data::ValueType type_of(const at::Tensor& values) {
    switch (values.scalar_type()) {
      case at::kByte:
        return data::ValueType::u8;
      case at::kInt:
        return data::ValueType::i32;
      case at::kLong:
        return data::ValueType::i64;
      default:
        return data::ValueType::f32;
    }
  }

  [[nodiscard]] std::vector<std::int32_t> numbers_of_contexts(const Stretch& stretch) const {
    const at::Tensor* contexts = file_.find("context");
    if (contexts == nullptr) return {};
    const std::vector<ContextNames::Key> keys = this->contexts().keys;
    at::Tensor numbers = contexts->narrow(0, stretch.first, stretch.count).to(at::kInt, false, true);
    for (std::size_t i = 0; i < keys.size(); ++i)
      numbers.select(1, static_cast<std::int64_t>(i)).add_(static_cast<std::int64_t>(keys[i].first));
    const auto* first = numbers.const_data_ptr<std::int32_t>();
    return {first, first + numbers.numel()};
  }

  /// Copies: the file's own cannot be written to.
  [[nodiscard]] data::Column part(const std::string& name, const Stretch& stretch) const {
    const at::Tensor *values = file_.find(name), *offsets = file_.find(name + "_offsets");
    if (offsets == nullptr) return {values->narrow(0, stretch.first, stretch.count).clone(), {}};
    const at::Tensor mine = offsets->narrow(0, stretch.first, stretch.count + 1);
    const auto begin = mine[0].item<std::int64_t>(), end = mine[-1].item<std::int64_t>();
    return {values->narrow(0, begin, end - begin).clone(), mine - begin};
  }

  checkpoint::Safetensors file_;
  Json about_;
  at::Tensor rows_;
  std::int64_t count_ = 0;
};

/// The passes of this rank.
template <class Use>
void for_each_pass(const Images& images, const comm::Communicator& ranks, const Use& use) {
  const std::int64_t size = images.of_a_pass(), passes = (images.count() + size - 1) / size;
  for (std::int64_t i = passes; i-- > 0;) {
    if (i % ranks.size() == ranks.rank())
      images.pass({i * size, std::min(size, images.count() - i * size)}, use);
  }
}

Scorecard scored_by_task(const Images& images, const TaskConfig& config, comm::Communicator& ranks) {
  const TaskEntry& entry = find_task(images.task());
  const std::unique_ptr<Task> task = entry.make(images.input(entry.target, config));
  comm::together(ranks, [&] {
    for_each_pass(images, ranks,
                  [&](std::span<const std::int64_t> rows, std::span<const std::int32_t> contexts,
                      const method::Answers& answers, const data::Column& target) {
                    task->add({rows, contexts, answers, target});
                  });
  });
  return task->finish(ranks);
}

/// Classes of labels [N] i32, -1: not known, by answer.logits [N, classes].
Scorecard scored_as_classes(const Images& images, const TaskConfig& config, comm::Communicator& ranks) {
  const TaskInput input = images.input(data::FieldKind::flags, config);
  RunningScores scores(std::ssize(input.classes), input.contexts.values.size(), images.count(),
                       config.threshold);
  comm::together(ranks, [&] {
    for_each_pass(images, ranks,
                  [&](std::span<const std::int64_t> rows, std::span<const std::int32_t> contexts,
                      const method::Answers& answers, const data::Column& target) {
                    const at::Tensor labels = target.values.to(at::kInt).contiguous();
                    scores.add(answers.at("logits"),
                               at::tensor(std::vector<std::int64_t>(rows.begin(), rows.end()), at::kLong),
                               {labels.const_data_ptr<std::int32_t>(), rows.size()}, contexts);
                  });
  });
  const std::size_t of_first_key = input.contexts.keys.empty() ? 0 : input.contexts.keys.front().count;
  const Scores found = scores.finish(std::span(input.contexts.values).first(of_first_key), ranks);
  return scorecard_of(found, scores.detail(), input.classes, input.contexts);
}

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

Json json_of(const std::vector<Score>& scores) {
  Json list = Json::array();
  for (const Score& score : scores) {
    Json entry{{"name", score.name}, {"value", number(score.value)}};
    if (score.interval) {
      entry["low"] = number(score.interval->low);
      entry["high"] = number(score.interval->high);
    }
    entry["better"] = score.higher_is_better ? "higher" : "lower";
    if (!score.unit.empty()) entry["unit"] = score.unit;
    list.push_back(entry);
  }
  return list;
}

Json json_of(const std::vector<ScoredGroup>& groups) {
  Json list = Json::array();
  for (const ScoredGroup& group : groups)
    list.push_back({{"name", group.name}, {"samples", group.samples}, {"scores", json_of(group.scores)}});
  return list;
}

Json json_of(const Scorecard& card) {
  Json json{{"samples", card.samples}, {"scores", json_of(card.all)}, {"contexts_by", Json::array()}};
  for (const ScoredContexts& by : card.contexts)
    json["contexts_by"].push_back({{"key", by.key}, {"contexts", json_of(by.groups)}});
  json["class_scores"] = json_of(card.classes);
  json["curves"] = Json::array();
  for (const Curve& curve : card.curves)
    json["curves"].push_back(
        {{"kind", curve.kind}, {"of", curve.of}, {"x", curve.x}, {"y", curve.y}, {"points", curve.points}});
  json["cases"] = Json::array();
  for (const Case& one : card.cases)
    json["cases"].push_back({{"row", one.row}, {"score", number(one.score)}, {"what", one.what}});
  return json;
}

/// What stands in a file, once there is one: ranks that wait leave the processor to others.
std::vector<std::string> words_of(const std::filesystem::path& file) {
  while (!std::filesystem::exists(file)) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  std::istringstream text(read_file(file));
  std::vector<std::string> words;
  for (std::string word; std::getline(text, word, '\t');) words.push_back(word);
  return words;
}

ExitCode run(const std::filesystem::path& folder, comm::Communicator& ranks) {
  for (std::int64_t number = 0;; ++number) {
    const std::vector<std::string> words = words_of(folder / std::to_string(number));
    if (words.empty()) return ExitCode::done;
    const Images images(words.front());
    TaskConfig config;
    testing::set_options(config, {words.begin() + 1, words.end()});
    const auto score = images.task() == "classification" ? scored_as_classes : scored_by_task;
    const std::string text = json_of(score(images, config, ranks)).dump();
    if (ranks.rank() == 0) std::cout << text << std::endl;
  }
}

}  // namespace
}  // namespace cohort::eval

int main(int argc, char** argv) {
  return cohort::comm::run_ranks(argc, argv, "score_task", [&](cohort::comm::Communicator& ranks) {
    return cohort::eval::run(argv[1], ranks);
  });
}
