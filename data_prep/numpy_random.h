#pragma once
#include <cstdint>
#include <vector>

namespace cohort::data_prep {

/// numpy.random.RandomState(seed).permutation(count), value for value: splits of published datasets are made
/// with it. NumPy keeps this stream as it is (NEP 19): MT19937 seeded by Knuth's multiplier, a shuffle from
/// the end, and indices by masks and rejection. 0 ≤ count ≤ 2³².
std::vector<std::int64_t> numpy_permutation(std::uint32_t seed, std::int64_t count);

}  // namespace cohort::data_prep
