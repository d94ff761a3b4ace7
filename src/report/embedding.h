#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace cohort::report {

/// A label or context of the images that are laid out.
struct EmbeddingColumn {
  std::string name;
  std::vector<std::string> values;
  std::vector<std::int64_t> of_points;  ///< [n], of `values`; -1: none
};

/// What cohort embed wrote into the folder of a run.
struct Embedding {
  using Places = std::vector<std::array<double, 2>>;

  std::string split;
  Places components, t_sne;        ///< [n]
  std::array<double, 2> shares{};  ///< of the variance, along each component
  double perplexity = 0.0;
  std::vector<EmbeddingColumn> columns;
  std::string thumbnails;  ///< JPEG
};

/// Nothing when there is none. Throws DataError when it is damaged, or the picture is missing.
std::optional<Embedding> read_embedding(const std::filesystem::path& run);

/// HTML: places by t-SNE and by principal components, coloured by each column, and thumbnails where they lie.
std::string embedding_html(const Embedding& embedding);

}  // namespace cohort::report
