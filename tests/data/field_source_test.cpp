// How fields come from cells and files, and how they move with their images.
#include "data_prep/field_source.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/data/image_codec.h"

#include "data/image_files.h"
#include "data_prep/export_fields.h"
#include "data_prep/field_cells.h"
#include "support/temporary_folder.h"

namespace cohort::data_prep {
namespace {

template <class Parse>
std::string refusal_of(const Parse& parse) {
  try {
    parse();
  } catch (const DataError& error) {
    return error.what();
  }
  return "nothing was refused";
}

const std::vector<std::string> kClasses{"cat", "dog"};

TEST(FieldCells, PlacesHaveClassesByNameOrNumberOrNone) {
  EXPECT_EQ(parse_places(R"([[1, 2.5, 3, 4, "dog"], [0, 0, 1, 1, 0], [5, 5, 6, 7]])", 4, kClasses, "x"),
            (std::vector<float>{1, 2.5, 3, 4, 1, 0, 0, 1, 1, 0, 5, 5, 6, 7, -1}));
  EXPECT_EQ(parse_places("[[1, 2, \"cat\"]]", 2, kClasses, "x"), (std::vector<float>{1, 2, 0}));
  EXPECT_TRUE(parse_places(" ", 4, {}, "x").empty());
  EXPECT_TRUE(parse_places("[]", 4, {}, "x").empty());
}

TEST(FieldCells, PlacesThatAreNoneAreRefusedWithTheirPlace) {
  const auto refusal = [](const std::string& text, std::size_t numbers = 4) {
    return refusal_of([&] { static_cast<void>(parse_places(text, numbers, kClasses, "list.csv:3")); });
  };
  EXPECT_NE(refusal("[[1,2,3,4,\"cow\"]]").find("there is no class 'cow'"), std::string::npos);
  EXPECT_NE(refusal("[[1,2,3,4,\"cow\"]]").find("list.csv:3"), std::string::npos);
  for (const char* text :
       {"{}", "[[1,2,3]]", "[[1,2,3,4,5,6]]", "[[\"a\",2,3,4]]", "[[3,2,1,4]]", "[[1,4,3,2]]",
        "[[1,2,3,4,-2]]", "[[1,2,3,4,0.5]]", "[[1,2,3,1e300]]", "[[1,2,3,4", "nonsense"}) {
    EXPECT_NE(refusal(text).find("is not a"), std::string::npos) << text << ": " << refusal(text);
  }
  EXPECT_NE(refusal(std::string(100, '[') + std::string(100, ']')).find("is not a list"), std::string::npos);
}

TEST(FieldCells, NumbersFlagsTokensAndVectors) {
  const std::vector<std::string> numbers{"1.5", " ", "nan", "-2e3"};
  const std::vector<float> read = parse_numbers(numbers, "x");
  EXPECT_EQ(read[0], 1.5F);
  EXPECT_TRUE(std::isnan(read[1]) && std::isnan(read[2]));
  EXPECT_EQ(read[3], -2000.0F);
  const std::vector<std::string> flags{"1", "no", "True", "", "0"};
  EXPECT_EQ(parse_flags(flags, "x"), (std::vector<std::uint8_t>{1, 0, 1, 255, 0}));
  EXPECT_EQ(parse_tokens(" 3 0  77\t", "x"), (std::vector<std::int32_t>{3, 0, 77}));
  EXPECT_EQ(parse_vector("0.5 -1", "x"), (std::vector<float>{0.5, -1}));
  for (const std::string cell : {"1,5", "1 2", "inf", "x"}) {
    EXPECT_NE(refusal_of([&] { parse_numbers(std::span(&cell, 1), "x"); }).find("is not a number"),
              std::string::npos);
  }
  const std::string two = "2";
  EXPECT_NE(refusal_of([&] { parse_flags(std::span(&two, 1), "x"); }).find("is not a flag"),
            std::string::npos);
  EXPECT_NE(refusal_of([&] { parse_tokens("1 -1", "x"); }).find("is not a token"), std::string::npos);
  EXPECT_NE(refusal_of([&] { parse_vector("1 nan", "x"); }).find("is not a number"), std::string::npos);
}

constexpr std::array kFits{data::Fit::stretch, data::Fit::crop, data::Fit::pad};

/// An image whose pixels tell where they are, as a mask.
Mask places(std::int64_t height, std::int64_t width) {
  Mask mask{height, width, data::ValueType::i32, {}};
  for (std::int64_t i = 0; i < height * width; ++i) mask.values.push_back(static_cast<std::int32_t>(i));
  return mask;
}

/// Of two classes, as masks of lungs are.
const data::Field kLungs{"lungs", data::FieldKind::mask, data::ValueType::u8, {}, data::Codec::raw,
                         "",      {"background", "lung"}};

Mask mask_of_pixels(std::vector<std::int32_t> values) {
  return {1, std::ssize(values), data::ValueType::u8, std::move(values)};
}

TEST(MaskValues, AreClassesInTheirOrder) {
  const Mask mask = mask_of_classes(mask_of_pixels({255, 0, 7, 255}), {0, 255}, kLungs, "m.png");
  EXPECT_EQ(mask.values, (std::vector<std::int32_t>{1, 0, -1, 1}));
  EXPECT_EQ(mask_values(mask, kLungs, {}, "m.png")[2], std::byte{255}) << "not known";
  Mask wide = mask_of_pixels({70'000, 5});
  wide.type = data::ValueType::i32;
  const Mask narrow = mask_of_classes(wide, {5, 70'000}, kLungs, "m.npy");
  EXPECT_EQ(narrow.values, (std::vector<std::int32_t>{1, 0}));
  EXPECT_EQ(narrow.type, data::ValueType::u8);
}

TEST(MaskValues, BlackAndWhiteIsRefusedWithoutThem) {
  const auto refused = [](std::vector<std::int32_t> values, const data::Field& field) {
    return refusal_of(
        [&] { static_cast<void>(mask_of_classes(mask_of_pixels(std::move(values)), {}, field, "m.png")); });
  };
  EXPECT_NE(refused({0, 255}, kLungs).find("--mask-values lungs=0,255"), std::string::npos);
  EXPECT_NE(refused({255, 255}, kLungs).find("255 means not known"), std::string::npos);
  EXPECT_EQ(refused({0, 0}, kLungs), "nothing was refused");
  EXPECT_EQ(refused({0, 1, 255}, kLungs), "nothing was refused") << "a border that is not known";
  data::Field nuclei = kLungs;
  nuclei.names.clear();
  EXPECT_EQ(refused({0, 255}, nuclei), "nothing was refused") << "numbers of instances";
}

TEST(MaskValues, AreReadFromTheCommandLine) {
  FieldOptions options;
  options.mask_values = {"lungs=0,255", "cells=5,3,9"};
  EXPECT_EQ(options.mask_values_of("cells"), (MaskValues{5, 3, 9}));
  EXPECT_TRUE(options.mask_values_of("hearts").empty());
  for (const char* wrong : {"0,255", "lungs=", "lungs=a", "lungs=1,1", "lungs=99999999999"}) {
    options.mask_values = {wrong};
    EXPECT_THROW(static_cast<void>(options.mask_values_of("lungs")), UsageError) << wrong;
  }
}

// Where an image grows by a whole number nothing lies between its pixels: mask and image have to agree.
TEST(MovedMask, IsTheImageWhereItGrowsByAWholeNumber) {
  const Mask mask = places(3, 4);
  const Mask grown = moved(mask, {.height = 6, .width = 8});
  for (std::int64_t y = 0; y < 6; ++y) {
    for (std::int64_t x = 0; x < 8; ++x)
      ASSERT_EQ(grown.values[static_cast<std::size_t>(y * 8 + x)], y / 2 * 4 + x / 2);
  }
}

// A pixel of the image that is made of one pixel alone is that of the mask, whatever is cut off or added.
TEST(MovedMask, LiesWhereCropAndPadPutTheImage) {
  for (const data::Fit fit : {data::Fit::crop, data::Fit::pad}) {
    for (const auto& [height, width] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{5, 5}, {6, 6}, {5, 8}, {9, 4}}) {
      for (const auto& [from_height, from_width] :
           std::vector<std::pair<std::int64_t, std::int64_t>>{{5, 9}, {9, 5}, {7, 4}, {6, 6}}) {
        const data::Preparation preparation{.height = height, .width = width, .fit = fit};
        const Scaling scaling = scaling_of({from_height, from_width}, preparation);
        if (scaling.height != from_height || scaling.width != from_width) continue;  // values are mixed
        Image image{{data::PixelType::u16, 1, from_height, from_width}, {}};
        image.pixels.resize(static_cast<std::size_t>(image.layout.bytes()));
        auto* pixels = static_cast<std::uint16_t*>(static_cast<void*>(image.pixels.data()));
        const Mask mask = places(from_height, from_width);
        for (std::size_t i = 0; i < mask.values.size(); ++i)
          pixels[i] = static_cast<std::uint16_t>(mask.values[i] + 1);
        const Image result = prepared(image, preparation);
        const auto* values =
            static_cast<const std::uint16_t*>(static_cast<const void*>(result.pixels.data()));
        const Mask moved_mask = moved(mask, preparation);
        for (std::size_t i = 0; i < moved_mask.values.size(); ++i)
          ASSERT_EQ(moved_mask.values[i], values[i] - 1) << i;  // 0, where there is no image, becomes -1
      }
    }
  }
}

// Boxes against the bounding boxes of masks of them, for any sizes and fits: they agree to a pixel.
TEST(MovedBoxes, EncloseTheMaskOfTheBox) {
  RandomStream random({.seed = 5, .purpose = Purpose::synthetic});
  int compared = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto side = [&] { return static_cast<std::int64_t>(8 + random.below(60)); };
    const std::int64_t height = side(), width = side();
    const data::Preparation preparation{.height = side(), .width = side(), .fit = kFits.at(random.below(3))};
    const auto cut = [&](std::int64_t size) {
      const auto low = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size)));
      return std::pair(
          low, low + 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size - low))));
    };
    const auto [x0, x1] = cut(width);
    const auto [y0, y1] = cut(height);
    Mask mask{height, width, data::ValueType::u8,
              std::vector<std::int32_t>(static_cast<std::size_t>(height * width))};
    for (std::int64_t y = y0; y < y1; ++y)
      for (std::int64_t x = x0; x < x1; ++x) mask.values[static_cast<std::size_t>(y * width + x)] = 1;
    const std::vector<float> box{static_cast<float>(x0), static_cast<float>(y0), static_cast<float>(x1),
                                 static_cast<float>(y1), 1};

    const Mask moved_mask = moved(mask, preparation);
    const std::vector<float> moved_box = moved(box, 5, {height, width, preparation});

    std::int64_t left = preparation.width, right = -1, top = preparation.height, bottom = -1;
    for (std::int64_t y = 0; y < preparation.height; ++y) {
      for (std::int64_t x = 0; x < preparation.width; ++x) {
        if (moved_mask.values[static_cast<std::size_t>(y * preparation.width + x)] != 1) continue;
        left = std::min(left, x), right = std::max(right, x + 1);
        top = std::min(top, y), bottom = std::max(bottom, y + 1);
      }
    }
    if (right < 0) continue;  // nothing is left of the mask; of the box less than a pixel
    ++compared;
    ASSERT_EQ(moved_box.size(), 5U) << round;
    // Pixels are taken by their middle: half a pixel at each side, and what rounding of the size adds.
    EXPECT_NEAR(moved_box[0], static_cast<double>(left), 0.51) << round;
    EXPECT_NEAR(moved_box[1], static_cast<double>(top), 0.51) << round;
    EXPECT_NEAR(moved_box[2], static_cast<double>(right), 0.51) << round;
    EXPECT_NEAR(moved_box[3], static_cast<double>(bottom), 0.51) << round;
  }
  EXPECT_GT(compared, 1500);
}

TEST(MovedPlaces, GoWhereNothingIsLeftOfThem) {
  const ImageChange change{10, 40, {.height = 10, .width = 10, .fit = data::Fit::crop}};  // columns 15 … 25
  EXPECT_EQ(moved({0, 0, 14, 10, 0, 12, 2, 18, 5, 1}, 5, change), (std::vector<float>{0, 2, 3, 5, 1}));
  EXPECT_EQ(moved({14, 5, 0, 16, 5, 1}, 3, change), (std::vector<float>{1, 5, 1}));
  const ImageChange unchanged{0, 0, {}};
  EXPECT_EQ(moved({14, 5, 0}, 3, unchanged), (std::vector<float>{14, 5, 0}));
}

TEST(ReadMask, TakesIntegersOfNumPyAndPictures) {
  testing::TemporaryFolder folder;
  const auto array = [&](const char* type, const std::vector<std::int64_t>& shape,
                         std::span<const std::byte> bytes) {
    folder.write("m.npy", npy_file(type, shape, bytes));
    return read_mask(folder.path() / "m.npy");
  };
  const std::array<std::int64_t, 2> large{-1, 70000};
  const Mask mask = array("<i8", {1, 2}, std::as_bytes(std::span(large)));
  EXPECT_EQ(mask.values, (std::vector<std::int32_t>{-1, 70000}));
  EXPECT_EQ(mask.type, data::ValueType::i32);
  const std::array<std::uint8_t, 2> small{1, 200};
  EXPECT_EQ(array("|u1", {2, 1}, std::as_bytes(std::span(small))).values,
            (std::vector<std::int32_t>{1, 200}));
  const std::array<std::int64_t, 1> too_large{std::int64_t{1} << 31};
  EXPECT_NE(refusal_of([&] {
              array("<i8", {1, 1}, std::as_bytes(std::span(too_large)));
            }).find("does not fit in 32 bits"),
            std::string::npos);
  const std::array<float, 1> real{1};
  EXPECT_NE(refusal_of([&] {
              array("<f4", {1, 1}, std::as_bytes(std::span(real)));
            }).find("is no mask"),
            std::string::npos);
  EXPECT_NE(refusal_of([&] { static_cast<void>(read_mask(folder.path() / "no.png")); }).find("missing"),
            std::string::npos);
}

TEST(ReadMask, TakesColoursForInstances) {
  testing::TemporaryFolder folder;
  testing::write_png(folder.path() / "m.png", 1, 2, 3, {0, 0, 0, 7, 1, 2});
  const Mask mask = read_mask(folder.path() / "m.png");
  EXPECT_EQ(mask.type, data::ValueType::i32);
  EXPECT_EQ(mask.values, (std::vector<std::int32_t>{0, 7 + 256 * 1 + 65536 * 2}));
  testing::write_png(folder.path() / "m.png", 1, 2, 3, std::vector<std::uint8_t>(6, 0));
  EXPECT_EQ(read_mask(folder.path() / "m.png").values, (std::vector<std::int32_t>{0, 0}));
}

TEST(ReadMask, TakesNoGrayAndNothingLossyForColours) {
  testing::TemporaryFolder folder;
  const auto refused = [&](const char* name) {
    return refusal_of([&] { static_cast<void>(read_mask(folder.path() / name)); });
  };
  testing::write_png(folder.path() / "m.png", 1, 2, 3, {0, 0, 0, 7, 7, 7});
  EXPECT_NE(refused("m.png").find("its three channels are equal everywhere"), std::string::npos);
  const std::vector<std::byte> jpeg = data::encode_image(data::Codec::jpeg, {data::PixelType::u8, 3, 8, 8},
                                                         95, std::vector<std::byte>(3 * 8 * 8));
  folder.write("m.jpg", std::string(reinterpret_cast<const char*>(jpeg.data()), jpeg.size()));
  EXPECT_NE(refused("m.jpg").find("3 channels of u8 are no mask"), std::string::npos);
}

}  // namespace
}  // namespace cohort::data_prep
