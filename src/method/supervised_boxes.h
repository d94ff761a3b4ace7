#pragma once
#include <memory>

#include "cohort/method/method.h"

#include "method/supervised_network.h"

namespace cohort::method {

/// Learns boxes and their classes (supervised_boxes.cpp). Throws UsageError as target_of() and
/// make_detector().
std::unique_ptr<Method> make_supervised_boxes(const SupervisedOptions& options, const Materials& materials);

}  // namespace cohort::method
