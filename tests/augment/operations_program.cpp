// Applies operations to an image, each to the image itself, for tests/python/views_test.py:
//   operations_program CHANNELS HEIGHT WIDTH (OPERATION NUMBERS…)… < f32 planes > f32 planes of every result
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "augment/colour.h"
#include "augment/planes.h"
#include "augment/rand_augment.h"

namespace {

using namespace cohort::augment;
using Numbers = std::vector<double>;

Planes resize(const Planes& image, const Numbers& n, Filter filter) {
  return resized(image, {n[0], n[1], n[2], n[3]}, static_cast<std::int64_t>(n[4]),
                 static_cast<std::int64_t>(n[5]), filter, 0.0F, 255.0F);
}

/// `filter` of what `n` says: degrees, right, down, enlargement, shears.
Planes affine(const Planes& image, const Numbers& n, Filter filter) {
  return warped(image, inverse_of({n[0], n[1], n[2], n[3], n[4], n[5]}, {image.height, image.width}), filter);
}

/// Number of the change, magnitude, 1: to the other side.
Planes rand_augment(const Planes& image, const Numbers& n) {
  const Sides size{image.height, image.width};
  const auto step = rand_augment_step(static_cast<RandAugmentChange>(n[0]), static_cast<std::int64_t>(n[1]),
                                      n[2] != 0.0, size);
  if (!step) return image;
  cohort::data::Description rgb;
  rgb.images = {cohort::data::PixelType::u8, image.channels, image.height, image.width};
  return made_by({&*step, 1}, image, size, rgb);
}

/// Operations that change an image in place.
const std::map<std::string, std::function<void(Planes&, const Numbers&)>> kChanges{
    {"brightness",
     [](Planes& image, const Numbers& n) { change_brightness(image, static_cast<float>(n[0])); }},
    {"contrast", [](Planes& image, const Numbers& n) { change_contrast(image, static_cast<float>(n[0])); }},
    {"saturation",
     [](Planes& image, const Numbers& n) { change_saturation(image, static_cast<float>(n[0])); }},
    {"hue", [](Planes& image, const Numbers& n) { shift_hue(image, static_cast<float>(n[0])); }},
    {"gray", [](Planes& image, const Numbers&) { make_gray(image); }},
    {"solarise", [](Planes& image, const Numbers& n) { solarise(image, static_cast<float>(n[0])); }},
    {"blur", [](Planes& image, const Numbers& n) { gaussian_blur(image, n[0]); }},
    {"defocus", [](Planes& image, const Numbers& n) { defocus(image, static_cast<std::int64_t>(n[0])); }},
    {"rotate", [](Planes& image, const Numbers& n) { image = rotated(image, n[0]); }},
    {"affine_nearest", [](Planes& image, const Numbers& n) { image = affine(image, n, Filter::nearest); }},
    {"affine_bilinear", [](Planes& image, const Numbers& n) { image = affine(image, n, Filter::bilinear); }},
    {"rand_augment", [](Planes& image, const Numbers& n) { image = rand_augment(image, n); }},
    {"nearest", [](Planes& image, const Numbers& n) { image = resize(image, n, Filter::nearest); }},
    {"area", [](Planes& image, const Numbers& n) { image = resize(image, n, Filter::area); }},
    {"bicubic", [](Planes& image, const Numbers& n) { image = resize(image, n, Filter::bicubic); }},
    {"bilinear", [](Planes& image, const Numbers& n) { image = resize(image, n, Filter::bilinear); }}};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  Planes image(std::atoll(argv[1]), std::atoll(argv[2]), std::atoll(argv[3]));
  if (std::fread(image.values.data(), sizeof(float), image.values.size(), stdin) != image.values.size())
    return 3;
  const std::vector<std::string> words(argv + 4, argv + argc);
  for (auto word = words.begin(); word != words.end();) {
    const auto change = kChanges.find(*word++);
    if (change == kChanges.end()) return 2;
    Numbers numbers;
    for (; word != words.end() && !kChanges.contains(*word); ++word) numbers.push_back(std::stod(*word));
    Planes changed = image;
    change->second(changed, numbers);
    if (std::fwrite(changed.values.data(), sizeof(float), changed.values.size(), stdout) !=
        changed.values.size())
      return 4;
  }
  return 0;
}
