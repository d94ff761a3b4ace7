#include "head_attention.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "vector_math.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 of its own undefined vectors (bug 105593)
#include <immintrin.h>
#define COHORT_HAS_HEAD_ATTENTION
#endif

namespace cohort::nn {

#ifdef COHORT_HAS_HEAD_ATTENTION
namespace {

constexpr std::int64_t kQueriesAtOnce = 96;  // even; their scores stay in the cache
constexpr int kTileRows = 6;

std::int64_t rounded_up_to_lanes(std::int64_t count) {
  return (count + kLanes - 1) / kLanes * kLanes;
}

}  // namespace

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16")
namespace {

// Products are formed of words: one fp32 number, or two bf16 numbers that follow each other along the sum.
struct Single {
  using Value = float;
  using Word = float;
  static constexpr std::int64_t kValues = 1;  // in a word
  static __m512 add_product(__m512 sum, Word a, const Word* b) {
    return _mm512_fmadd_ps(_mm512_set1_ps(a), _mm512_loadu_ps(b), sum);
  }
};

struct Pair {
  using Value = c10::BFloat16;
  using Word = std::int32_t;
  static constexpr std::int64_t kValues = 2;
  static __m512 add_product(__m512 sum, Word a, const Word* b) {
    return _mm512_dpbf16_ps(sum, std::bit_cast<__m512bh>(_mm512_set1_epi32(a)),
                            std::bit_cast<__m512bh>(_mm512_loadu_si512(b)));
  }
};

template <class Word>
struct Matrix {
  const Word* at;
  std::int64_t row, column;  // words from one to the next
};

template <class Word>
[[gnu::always_inline]] inline Word word_at(const Word* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// c [kRows, 16 kVectors] = a [kRows, depth] b [depth, 16 kVectors], or plus it
template <class Kind, int kRows, int kVectors>
void multiply_tile(const Matrix<typename Kind::Word>& a, const typename Kind::Word* b, std::int64_t b_row,
                   std::int64_t depth, float* c, std::int64_t c_row, bool adds) {
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      sums[r][v] = adds ? _mm512_loadu_ps(c + r * c_row + v * kLanes) : _mm512_setzero_ps();
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    const auto* const column = a.at + k * a.column;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const auto word = word_at(column + r * a.row);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        sums[r][v] = Kind::add_product(sums[r][v], word, b + k * b_row + v * kLanes);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(c + r * c_row + v * kLanes, sums[r][v]);
  }
}

template <class Kind, int kVectors>
void multiply_columns(Matrix<typename Kind::Word> a, const typename Kind::Word* b, std::int64_t b_row,
                      std::int64_t rows, std::int64_t depth, float* c, std::int64_t c_row, bool adds) {
  std::int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows)
    multiply_tile<Kind, kTileRows, kVectors>({a.at + r * a.row, a.row, a.column}, b, b_row, depth,
                                             c + r * c_row, c_row, adds);
  for (; r < rows; ++r)
    multiply_tile<Kind, 1, kVectors>({a.at + r * a.row, a.row, a.column}, b, b_row, depth, c + r * c_row,
                                     c_row, adds);
}

// c [rows, columns] = a [rows, depth] b [depth, columns], or plus it; columns: a multiple of 16
template <class Kind>
void multiply(const Matrix<typename Kind::Word>& a, const typename Kind::Word* b, std::int64_t rows,
              std::int64_t depth, std::int64_t columns, float* c, bool adds) {
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= columns; i += 4 * kLanes)
    multiply_columns<Kind, 4>(a, b + i, columns, rows, depth, c + i, columns, adds);
  for (; i + 2 * kLanes <= columns; i += 2 * kLanes)
    multiply_columns<Kind, 2>(a, b + i, columns, rows, depth, c + i, columns, adds);
  if (i < columns) multiply_columns<Kind, 1>(a, b + i, columns, rows, depth, c + i, columns, adds);
}

template <class Kind>
std::int64_t words_of(std::int64_t values) {
  return (values + Kind::kValues - 1) / Kind::kValues;
}

template <class Kind>
const typename Kind::Word* as_words(const typename Kind::Value* values) {
  return reinterpret_cast<const typename Kind::Word*>(values);
}

// Rows and columns of 16 by 16 words change places.
[[gnu::always_inline]] inline void turn_over(__m512i (&rows)[kLanes]) {
  __m512i pairs[kLanes], fours[kLanes];  // of rows
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; i += 4) {
    fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  constexpr int kEven = 0x88, kOdd = 0xdd;  // parts of 128 bits of both operands
#pragma GCC unroll 8
  for (int j = 0; j < 4; ++j) {
    const __m512i upper_even = _mm512_shuffle_i32x4(fours[j], fours[4 + j], kEven),
                  upper_odd = _mm512_shuffle_i32x4(fours[j], fours[4 + j], kOdd),
                  lower_even = _mm512_shuffle_i32x4(fours[8 + j], fours[12 + j], kEven),
                  lower_odd = _mm512_shuffle_i32x4(fours[8 + j], fours[12 + j], kOdd);
    rows[j] = _mm512_shuffle_i32x4(upper_even, lower_even, kEven);
    rows[4 + j] = _mm512_shuffle_i32x4(upper_odd, lower_odd, kEven);
    rows[8 + j] = _mm512_shuffle_i32x4(upper_even, lower_even, kOdd);
    rows[12 + j] = _mm512_shuffle_i32x4(upper_odd, lower_odd, kOdd);
  }
}

[[gnu::always_inline]] inline __mmask16 first_lanes(std::int64_t count) {
  return count >= kLanes ? 0xffff : static_cast<__mmask16>((1U << std::max<std::int64_t>(count, 0)) - 1);
}

// [words of width, columns] from `tokens` rows; zeros in the last columns
template <class Kind>
void transpose(const typename Kind::Value* rows, std::int64_t stride, std::int64_t tokens, std::int64_t width,
               std::int64_t columns, typename Kind::Word* to) {
  const std::int64_t words = words_of<Kind>(width);
  for (std::int64_t w = 0; w < words; w += kLanes) {
    const __mmask16 present = first_lanes(words - w);
    for (std::int64_t t = 0; t < columns; t += kLanes) {
      __m512i tile[kLanes];
      for (std::int64_t r = 0; r < kLanes; ++r) {
        tile[r] = t + r < tokens
                      ? _mm512_maskz_loadu_epi32(present, as_words<Kind>(rows + (t + r) * stride) + w)
                      : _mm512_setzero_si512();
      }
      turn_over(tile);
      for (std::int64_t r = 0; r < std::min(kLanes, words - w); ++r)
        _mm512_storeu_si512(to + (w + r) * columns + t, tile[r]);
    }
  }
}

// [words of tokens, width]: rows in words along the tokens; zeros for what an odd last word lacks
void pack(const float* rows, std::int64_t stride, std::int64_t tokens, std::int64_t width, float* to) {
  for (std::int64_t t = 0; t < tokens; ++t) std::copy_n(rows + t * stride, width, to + t * width);
}

Words load_bits(const c10::BFloat16* from) {
  return __builtin_convertvector(
      std::bit_cast<Halves>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), Words);
}

void pack(const c10::BFloat16* rows, std::int64_t stride, std::int64_t tokens, std::int64_t width,
          std::int32_t* to) {
  for (std::int64_t t = 0; t < tokens; t += 2) {
    for (std::int64_t i = 0; i < width; i += kLanes) {
      Words both = load_bits(rows + t * stride + i);
      if (t + 1 < tokens) both |= load_bits(rows + (t + 1) * stride + i) << 16;
      std::memcpy(to + t / 2 * width + i, &both, sizeof both);
    }
  }
}

// As store() does, but by the processor, for which numbers below 2^-126 are zero.
[[gnu::always_inline]] inline void store_rounded(c10::BFloat16* to, const Floats& values) {
  const __m256bh rounded = _mm512_cvtneps_pbh(values);
  std::memcpy(to, &rounded, sizeof rounded);
}

[[gnu::always_inline]] inline void store_rounded(float* to, const Floats& values) {
  store(to, values);
}

[[gnu::always_inline]] inline __m512i rounded_bits(const Floats& values) {
  return _mm512_cvtepu16_epi32(std::bit_cast<__m256i>(_mm512_cvtneps_pbh(values)));
}

// Words of values of one row, along the row.
[[gnu::always_inline]] inline void store_along(float* row, std::int64_t i, const Floats& values) {
  store(row + i, values);
}

[[gnu::always_inline]] inline void store_along(std::int32_t* row, std::int64_t i, const Floats& values) {
  store_rounded(reinterpret_cast<c10::BFloat16*>(row) + i, values);
}

[[gnu::always_inline]] inline Floats only_first(const Floats& values, std::int64_t count) {
  return _mm512_maskz_mov_ps(first_lanes(count), values);
}

// Turns `scores` of a query into the exponentials of their differences from the largest, and writes them in
// words; returns the sum's inverse and sets its logarithm.
template <class Word>
float soften(float* scores, std::int64_t tokens, std::int64_t columns, float scale, Word* words,
             float* log_sum) {
  Floats largest = all_lanes(-INFINITY);
  for (std::int64_t i = 0; i < columns; i += kLanes) {
    Floats values = load(scores + i);
    if (tokens - i < kLanes)
      values = _mm512_mask_mov_ps(all_lanes(-INFINITY), first_lanes(tokens - i), values);
    largest = values > largest ? values : largest;
  }
  const float most = largest_lane(largest) * scale;
  Floats sums{};
  for (std::int64_t i = 0; i < columns; i += kLanes) {
    const Floats values = only_first(exponential(load(scores + i) * scale - most), tokens - i);
    sums += values;
    store_along(words, i, values);
  }
  const float sum = sum_of_lanes(sums);
  *log_sum = most + std::log(sum);
  return 1.0f / sum;
}

template <class T>
void store_rows(const float* rows, std::int64_t count, std::int64_t width, T* to, std::int64_t stride) {
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t i = 0; i < width; i += kLanes)
      store_rounded(to + r * stride + i, load(rows + r * width + i));
  }
}

template <class Kind>
void attend_with(const Head<typename Kind::Value>& head, typename Kind::Value* output, float* log_sums,
                 float* scratch) {
  using Word = typename Kind::Word;
  const std::int64_t tokens = head.tokens, width = head.width, columns = rounded_up_to_lanes(tokens);
  float* next = scratch;
  const auto take = [&](std::int64_t count) {
    return std::exchange(next, next + rounded_up_to_lanes(count));
  };
  auto* const keys = reinterpret_cast<Word*>(take(words_of<Kind>(width) * columns));
  auto* const values = reinterpret_cast<Word*>(take(words_of<Kind>(tokens) * width));
  auto* const weights = reinterpret_cast<Word*>(take(kQueriesAtOnce * words_of<Kind>(columns)));
  float* const scores = take(kQueriesAtOnce * columns);
  float* const mixed = take(kQueriesAtOnce * width);
  transpose<Kind>(head.key, head.stride, tokens, width, columns, keys);
  pack(head.value, head.stride, tokens, width, values);
  for (std::int64_t first = 0; first < head.queries; first += kQueriesAtOnce) {
    const std::int64_t rows = std::min(kQueriesAtOnce, head.queries - first), along = words_of<Kind>(columns);
    multiply<Kind>({as_words<Kind>(head.query + first * head.stride), head.stride / Kind::kValues, 1}, keys,
                   rows, words_of<Kind>(width), columns, scores, false);
    float inverse[kQueriesAtOnce];
    for (std::int64_t r = 0; r < rows; ++r)
      inverse[r] = soften(scores + r * columns, tokens, columns, head.scale, weights + r * along,
                          log_sums + first + r);
    multiply<Kind>({weights, along, 1}, values, rows, words_of<Kind>(tokens), width, mixed, false);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < width; i += kLanes)
        store_rounded(output + (first + r) * head.output_stride + i,
                      load(mixed + r * width + i) * inverse[r]);
    }
  }
}

// Turns scores and the gradients of the softmax's results into these results and the gradients of the scores.
void soften_back(float* scores, float* slopes, std::int64_t tokens, std::int64_t columns, float scale,
                 float log_sum) {
  Floats products{};
  for (std::int64_t i = 0; i < columns; i += kLanes) {
    const Floats weights = only_first(exponential(load(scores + i) * scale - log_sum), tokens - i);
    store(scores + i, weights);
    products += weights * load(slopes + i);
  }
  const float product = sum_of_lanes(products);
  for (std::int64_t i = 0; i < columns; i += kLanes)
    store(slopes + i, load(scores + i) * (load(slopes + i) - product) * scale);
}

// Words of two rows along the columns of both, [words of rows, columns].
void pack_scores(const float* rows, std::int64_t count, std::int64_t columns, std::int32_t* to) {
  for (std::int64_t r = 0; r < count; r += 2) {
    for (std::int64_t i = 0; i < columns; i += kLanes) {
      __m512i both = rounded_bits(load(rows + r * columns + i));
      if (r + 1 < count)
        both = _mm512_or_si512(both, _mm512_slli_epi32(rounded_bits(load(rows + (r + 1) * columns + i)), 16));
      _mm512_storeu_si512(to + r / 2 * columns + i, both);
    }
  }
}

template <class Kind>
void attend_back_with(const Head<typename Kind::Value>& head, const typename Kind::Value* output_gradient,
                      const float* log_sums, typename Kind::Value* query, typename Kind::Value* key,
                      typename Kind::Value* value, float* scratch) {
  using Word = typename Kind::Word;
  const std::int64_t tokens = head.tokens, width = head.width, columns = rounded_up_to_lanes(tokens);
  float* next = scratch;
  const auto take = [&](std::int64_t count) {
    return std::exchange(next, next + rounded_up_to_lanes(count));
  };
  const auto take_words = [&](std::int64_t count) { return reinterpret_cast<Word*>(take(count)); };
  Word* const keys_across = take_words(words_of<Kind>(width) * columns);
  Word* const values_across = take_words(words_of<Kind>(width) * columns);
  Word* const keys = take_words(words_of<Kind>(tokens) * width);
  Word* const queries = take_words(words_of<Kind>(kQueriesAtOnce) * width);
  Word* const gradients = take_words(words_of<Kind>(kQueriesAtOnce) * width);
  float* const scores = take(kQueriesAtOnce * columns);
  float* const slopes = take(kQueriesAtOnce * columns);
  float* const of_queries = take(kQueriesAtOnce * width);
  float* const of_keys = take(tokens * width);
  float* const of_values = take(tokens * width);
  Word* const along = take_words(kQueriesAtOnce * words_of<Kind>(columns));
  Word* const across = take_words(words_of<Kind>(kQueriesAtOnce) * columns);
  transpose<Kind>(head.key, head.stride, tokens, width, columns, keys_across);
  transpose<Kind>(head.value, head.stride, tokens, width, columns, values_across);
  pack(head.key, head.stride, tokens, width, keys);
  for (std::int64_t first = 0; first < head.queries; first += kQueriesAtOnce) {
    const std::int64_t rows = std::min(kQueriesAtOnce, head.queries - first), depth = words_of<Kind>(rows);
    const auto* const query_rows = head.query + first * head.stride;
    const auto* const gradient_rows = output_gradient + first * head.output_stride;
    multiply<Kind>({as_words<Kind>(query_rows), head.stride / Kind::kValues, 1}, keys_across, rows,
                   words_of<Kind>(width), columns, scores, false);
    multiply<Kind>({as_words<Kind>(gradient_rows), head.output_stride / Kind::kValues, 1}, values_across,
                   rows, words_of<Kind>(width), columns, slopes, false);
    for (std::int64_t r = 0; r < rows; ++r)
      soften_back(scores + r * columns, slopes + r * columns, tokens, columns, head.scale,
                  log_sums[first + r]);
    pack(query_rows, head.stride, rows, width, queries);
    pack(gradient_rows, head.output_stride, rows, width, gradients);
    if constexpr (Kind::kValues == 1) {
      multiply<Kind>({scores, 1, columns}, gradients, tokens, depth, width, of_values, first > 0);
      multiply<Kind>({slopes, 1, columns}, queries, tokens, depth, width, of_keys, first > 0);
      multiply<Kind>({slopes, columns, 1}, keys, rows, tokens, width, of_queries, false);
    } else {
      pack_scores(scores, rows, columns, across);
      multiply<Kind>({across, 1, columns}, gradients, tokens, depth, width, of_values, first > 0);
      pack_scores(slopes, rows, columns, across);
      multiply<Kind>({across, 1, columns}, queries, tokens, depth, width, of_keys, first > 0);
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t i = 0; i < columns; i += kLanes)
          store_along(along + r * words_of<Kind>(columns), i, load(slopes + r * columns + i));
      }
      multiply<Kind>({along, words_of<Kind>(columns), 1}, keys, rows, words_of<Kind>(tokens), width,
                     of_queries, false);
    }
    store_rows(of_queries, rows, width, query + first * head.stride, head.stride);
  }
  store_rows(of_keys, tokens, width, key, head.stride);
  store_rows(of_values, tokens, width, value, head.stride);
}

template <class T>
using KindOf = std::conditional_t<std::is_same_v<T, float>, Single, Pair>;

}  // namespace

template <class T>
void attend(const Head<T>& head, T* output, float* log_sums, float* scratch) {
  attend_with<KindOf<T>>(head, output, log_sums, scratch);
}

template <class T>
void attend_back(const Head<T>& head, const T* output_gradient, const float* log_sums, T* query, T* key,
                 T* value, float* scratch) {
  attend_back_with<KindOf<T>>(head, output_gradient, log_sums, query, key, value, scratch);
}
#pragma GCC pop_options

bool has_head_attention(std::int64_t width) {
  static const bool has = cpu_capability() == CpuCapability::avx512 && __builtin_cpu_supports("avx512bf16");
  return has && width % kLanes == 0;
}

std::int64_t scratch_of_head(std::int64_t tokens, std::int64_t width) {
  const std::int64_t columns = rounded_up_to_lanes(tokens), pieces = 12;
  return 2 * width * columns + 3 * tokens * width + 3 * kQueriesAtOnce * width +
         4 * kQueriesAtOnce * columns + pieces * kLanes;
}

#else

template <class T>
void attend(const Head<T>&, T*, float*, float*) {}

template <class T>
void attend_back(const Head<T>&, const T*, const float*, T*, T*, T*, float*) {}

bool has_head_attention(std::int64_t) {
  return false;
}

std::int64_t scratch_of_head(std::int64_t, std::int64_t) {
  return 0;
}

#endif

template void attend(const Head<float>&, float*, float*, float*);
template void attend(const Head<c10::BFloat16>&, c10::BFloat16*, float*, float*);
template void attend_back(const Head<float>&, const float*, const float*, float*, float*, float*, float*);
template void attend_back(const Head<c10::BFloat16>&, const c10::BFloat16*, const float*, c10::BFloat16*,
                          c10::BFloat16*, c10::BFloat16*, float*);

}  // namespace cohort::nn
