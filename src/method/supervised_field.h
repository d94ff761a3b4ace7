#pragma once
#include <memory>

#include "cohort/method/method.h"

#include "method/supervised_network.h"

namespace cohort::method {

/// Learns a field of the dataset (supervised_field.cpp). Throws UsageError as target_of() and make_network().
std::unique_ptr<Method> make_supervised_field(const SupervisedOptions& options, const Materials& materials);

}  // namespace cohort::method
