#pragma once
// Compiled twice, the version for this processor is chosen when the program starts. AVX2 without fused
// multiply-add: the same bits on every processor.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define COHORT_VECTORISED [[gnu::target_clones("avx2", "default")]]
#else
#define COHORT_VECTORISED
#endif
