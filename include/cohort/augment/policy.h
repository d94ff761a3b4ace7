#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace cohort::augment {

/// A table of operations: how views for training are made. Each operation is a line "name option=value …", as
/// "crop area=[0.4,1] interpolation=bicubic"; they are made in order. docs/views.md lists all of them, with
/// their options and sources; operation_names() names them.
struct Policy {
  std::vector<std::string> global, local;

  template <class Visit>
  void fields(Visit& visit) {
    visit("global", global,
          "operations that make a view of the image, in order, as \"crop area=[0.2,1]\", \"flip\" "
          "(docs/views.md); of augment.multi_crop.global_size pixels a side, 0: of the image's size");
    visit("local", local, "the same of local crops; empty: there are none");
  }
};

/// "crop", "flip" …
std::vector<std::string> operation_names();

}  // namespace cohort::augment
