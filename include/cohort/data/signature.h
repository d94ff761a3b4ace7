#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cohort/data/dataset.h"
#include "cohort/data/description.h"

namespace cohort::data {

/// What a model knows of the data that it was trained on: the names behind the numbers of its outputs, rows
/// and inputs. Checkpoints and exported weights carry it, so that another dataset is matched by name.
struct Signature {
  struct Context {
    std::string name;
    std::vector<std::string> values;    ///< row i of a dictionary is that of values[i]
    std::vector<std::string> unseen{};  ///< those of `values` without an image to train on
  };
  std::string label{};                 ///< column that was learnt; empty: none
  std::vector<std::string> classes{};  ///< output i of the head is that of classes[i]; empty: no head
  std::vector<Context> contexts{};     ///< in the order of the model's keys
  std::vector<std::string> channels{};
  ImageLayout images{};                      ///< height and width give the grid of the position table
  std::vector<double> mean{}, deviation{};   ///< per channel, in stored units; empty: not known
  std::optional<Preparation> preparation{};  ///< of the images; nothing: not known
};

/// Of a model that learns `label` (empty: none) with the context keys `keys`. Throws UsageError: no such
/// column.
Signature signature_of(const Description& description, const std::string& label,
                       const std::vector<std::string>& keys);
/// The same, with the contexts of which `training` has no image.
Signature signature_of(const Dataset& training, const std::string& label,
                       const std::vector<std::string>& keys);

/// JSON (docs/formats/checkpoint.md), and back. Throws DataError naming `where`: damaged or of another shape.
std::string signature_text(const Signature& signature);
Signature parse_signature(const std::string& text, const std::string& where);

/// `model` of these of its channels alone, in this order.
Signature with_channels(Signature model, const std::vector<std::string>& channels);

/// The model in the words of another dataset: its channels, statistics and context values in the order of
/// `description`. Label, classes and the size of the position table stay. Throws UsageError: channels that
/// are not the model's, no such context key, or volumes where the model knows images.
Signature in_words_of(const Description& description, const Signature& model);

/// `wanted` with the statistics of `model` for its channels, by name; as it is when the model does not know
/// them, or when pixels are of another type.
Signature with_statistics_of(const Signature& model, Signature wanted);

/// "site 'e'": a context of `dataset` for which a dictionary of `model` has no token that was trained; empty:
/// there is none.
std::string context_without_token(const Dataset& dataset, const Signature& model);

/// Numbers of the classes of a column, or of the values of a context, among those of a model, by name.
class ClassNumbers {
 public:
  /// `split`: whose images have them, as messages name it.
  ClassNumbers(const Description& description, std::string split, std::string label,
               std::vector<std::string> classes);
  /// Of a label; -1 of -1, which is none. Throws UsageError: the model does not know the class.
  [[nodiscard]] std::int32_t operator()(std::int32_t label) const;

 private:
  std::string dataset_, split_, label_;
  std::vector<std::string> names_, classes_;
  std::vector<std::int64_t> places_;
};

/// What two trainings know differently, a sentence each: "classes of 'grade': cat, dog -> dog, cat".
std::vector<std::string> differences(const Signature& before, const Signature& now);

}  // namespace cohort::data
