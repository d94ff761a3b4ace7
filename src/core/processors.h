#pragma once
// Functions marked so are compiled for AVX-512, AVX2 and the baseline; which of them runs is chosen when the
// program starts. What they call has to be inlined to become part of each version.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define COHORT_FOR_EACH_PROCESSOR [[gnu::target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")]]
#else
#define COHORT_FOR_EACH_PROCESSOR
#endif
