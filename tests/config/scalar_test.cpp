#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "cohort/config/field.h"
#include "cohort/core/random.h"

#include "example_options.h"

namespace cohort::config {
namespace {

template <class T>
T parsed(const std::string& text) {
  T value{};
  scalar::parse(text, value);
  return value;
}

template <class T>
std::string refusal(const std::string& text) {
  try {
    parsed<T>(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Scalar, Durations) {
  using std::chrono::seconds;
  EXPECT_EQ(parsed<seconds>("30s"), seconds(30));
  EXPECT_EQ(parsed<seconds>("10min"), seconds(600));
  EXPECT_EQ(parsed<seconds>("12 h"), seconds(43200));
  EXPECT_EQ(parsed<seconds>("2d"), seconds(172800));
  EXPECT_EQ(parsed<seconds>("0"), seconds(0));
  EXPECT_EQ(scalar::print(seconds(5400)), "90min");
  EXPECT_EQ(scalar::print(seconds(3601)), "3601s");
  EXPECT_EQ(scalar::print(seconds(0)), "0s");
  for (const char* bad : {"", "s", "30", "-1s", "1.5h", "1h30min", "10 minutes", "99999999999999999999s",
                          "9223372036854775807d"}) {
    EXPECT_EQ(refusal<seconds>(bad), "expected a duration such as 30s, 10min or 12h") << bad;
  }
}

TEST(Scalar, Sizes) {
  EXPECT_EQ(parsed<Bytes>("64MiB").count, 67108864U);
  EXPECT_EQ(parsed<Bytes>("1GB").count, 1000000000U);
  EXPECT_EQ(parsed<Bytes>("4096").count, 4096U);
  EXPECT_EQ(parsed<Bytes>("3 kB").count, 3000U);
  EXPECT_EQ(parsed<Bytes>("2TiB").count, 2199023255552U);
  EXPECT_EQ(scalar::print(Bytes{67108864}), "64MiB");
  EXPECT_EQ(scalar::print(Bytes{1000000000}), "1GB");
  EXPECT_EQ(scalar::print(Bytes{4096}), "4KiB");
  EXPECT_EQ(scalar::print(Bytes{4097}), "4097");
  EXPECT_EQ(scalar::print(Bytes{0}), "0");
  for (const char* bad : {"", "MiB", "-1", "1.5GB", "12PiBs", "1 000", "9999999999GiB"}) {
    EXPECT_EQ(refusal<Bytes>(bad), "expected a size such as 64MiB, 1GB or 4096") << bad;
  }
}

TEST(Scalar, Numbers) {
  EXPECT_EQ(parsed<double>("1e-3"), 0.001);
  EXPECT_EQ(parsed<double>("-.5"), -0.5);
  EXPECT_EQ(scalar::print(0.0005), "0.0005");
  EXPECT_EQ(scalar::print(0.1 + 0.2), "0.30000000000000004");
  for (const char* bad : {"", "nan", "inf", "1e999", "1,5", "0x10", "1 "})
    EXPECT_EQ(refusal<double>(bad), "expected a number") << bad;
  for (const char* bad : {"", "-", "1.0", "1e3", "+1", " 1"})
    EXPECT_EQ(refusal<int>(bad), "expected an integer") << bad;
  EXPECT_EQ(refusal<int>("2147483648"), "expected an integer in -2147483648 … 2147483647");
  EXPECT_EQ(refusal<std::uint64_t>("-3"), "expected an integer in 0 … 18446744073709551615");
  EXPECT_EQ(parsed<std::int64_t>("-9223372036854775808"), INT64_MIN);
}

TEST(Scalar, Names) {
  EXPECT_EQ(parsed<Colour>("green"), Colour::green);
  EXPECT_EQ(scalar::print(Colour::green), "green");
  EXPECT_EQ(refusal<Colour>("gren"), "expected one of green, red");
  EXPECT_EQ(refusal<Colour>("Red"), "expected one of red, green");
}

TEST(Scalar, EveryDoubleReadsBackExactly) {
  RandomStream random(RandomKey{.seed = 20240611});
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t bits = static_cast<std::uint64_t>(random()) << 32 | random();
    const auto value = std::bit_cast<double>(bits);
    if (!std::isfinite(value)) continue;
    EXPECT_EQ(parsed<double>(scalar::print(value)), value) << scalar::print(value);
  }
}

TEST(Scalar, DurationsAndSizesReadBackExactly) {
  RandomStream random(RandomKey{.seed = 7});
  for (int i = 0; i < 5000; ++i) {
    const std::uint64_t count = (random.below(UINT32_MAX) + 1) >> random.below(32);
    for (const std::uint64_t factor : {1, 60, 3600, 86400, 1000, 1024, 1000000, 1 << 20}) {
      EXPECT_EQ(parsed<Bytes>(scalar::print(Bytes{count * factor})).count, count * factor);
      const std::chrono::seconds time(static_cast<std::int64_t>(count * factor));
      EXPECT_EQ(parsed<std::chrono::seconds>(scalar::print(time)), time);
    }
  }
}

}  // namespace
}  // namespace cohort::config
