// Files of the kinds small_data.csit_corruption and small_data.csit_losses.
#include "cohort/method/corruption.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/method/two_view_losses.h"

#include "checks.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

/// Of a row (…, row0, col0, row1, col1), ends exclusive.
method::PixelBlock block_of(const at::Tensor& row) {
  const std::int64_t first = row.numel() - 4;
  const auto at_place = [&](std::int64_t place) { return row[first + place].item<std::int64_t>(); };
  return {at_place(0), at_place(1), at_place(2) - at_place(0), at_place(3) - at_place(1)};
}

std::vector<method::PixelBlock> blocks_of(const at::Tensor& rows, std::int64_t image) {
  std::vector<method::PixelBlock> blocks;
  for (std::int64_t i = 0; i < rows.size(0); ++i)
    if (rows[i][0].item<std::int64_t>() == image) blocks.push_back(block_of(rows[i]));
  return blocks;
}

/// The noise of an image's blocks, which stand one after another in the file, `used` of its values before.
std::vector<float> noise_of(const at::Tensor& all, const std::vector<method::PixelBlock>& blocks,
                            std::int64_t channels, std::int64_t& used) {
  const std::int64_t begin = used;
  for (const method::PixelBlock& block : blocks) used += channels * block.area();
  const auto* const values = all.const_data_ptr<float>();
  return {values + begin, values + used};
}

}  // namespace

void check_corruption(Comparison& file) {
  const Tolerance tolerance{leading_number(file.about().at("tolerance").at("images"))};
  const at::Tensor clean = file.float_input("in.clean"), noise = file.float_input("draw.drop_noise");
  for (const char* raw :
       {"grey_raw", "blur_block_raw", "drop_raw", "replace_raw", "drop_limit", "replace_limit"})
    (void)file.input(std::string("draw.") + raw);  // of which the blocks were made
  at::Tensor grey = clean.clone(), blurred = clean.clone(), dropped = clean.clone();
  at::Tensor replaced = clean.clone(), in_turn = clean.clone();
  std::int64_t used = 0;
  for (std::int64_t i = 0; i < clean.size(0); ++i) {
    at::Tensor image = clean[i].clone();
    method::grey_block(image, block_of(file.input("draw.grey")[i]));
    grey[i].copy_(image);
    method::blur_block(image, block_of(file.input("draw.blur_block")[i]),
                       file.input("draw.blur_kernel")[i].item<std::int64_t>(),
                       file.input("draw.blur_sigma")[i].item<double>());
    blurred[i].copy_(image);
    const auto holes = blocks_of(file.input("draw.drop_blocks"), i),
               patches = blocks_of(file.input("draw.replace_blocks"), i);
    method::drop_blocks(image, holes, noise_of(noise, holes, clean.size(1), used));
    dropped[i].copy_(image);
    in_turn[i].copy_(image);
    at::Tensor later = image.clone();
    const auto donor = file.input("draw.donor")[i].item<std::int64_t>();
    method::replace_blocks(image, patches, donor == i ? image : clean[donor]);
    replaced[i].copy_(image);
    // As published: images before it are corrupted already.
    method::replace_blocks(later, patches, in_turn[donor]);
    in_turn[i].copy_(later);
  }
  file.tensor("out.after_grey", grey, tolerance);
  file.tensor("out.after_blur", blurred, tolerance);
  file.tensor("out.after_drop", dropped, tolerance);
  file.tensor("out.donor_clean", replaced, tolerance);
  file.tensor("out.donor_reference", in_turn, tolerance);
  for (const std::int64_t label : {0, 1, 2, 3})
    file.tensor("out.rotation" + std::to_string(label) + "_of_image0", method::turned(clean[0], label),
                tolerance);
}

void check_csit_losses(Comparison& file) {
  constexpr double kOfLargest = 1e-7;
  const auto& about = file.about().at("tolerance");
  const Tolerance values{leading_number(about.at("values"))};
  const Tolerance slopes{leading_number(about.at("gradients")), kOfLargest * file.largest("grad")};
  for (const std::string temperature : {"0.5", "0.1"}) {
    const at::Tensor z1 = leaf(file.float_input("in.z1")), z2 = leaf(file.float_input("in.z2"));
    const at::Tensor loss = method::nt_xent(z1, z2, std::stod(temperature));
    loss.backward();
    file.tensor("out.ntxent_tau" + temperature, loss.reshape({1}), values);
    file.tensor("grad_in.z1_tau" + temperature, z1.grad(), slopes);
    file.tensor("grad_in.z2_tau" + temperature, z2.grad(), slopes);
  }
  const at::Tensor decoded = leaf(file.float_input("in.decoded"));
  const at::Tensor error = at::l1_loss(decoded, file.float_input("in.target"));
  error.backward();
  file.tensor("out.l1", error.reshape({1}), values);
  file.tensor("grad_in.decoded", decoded.grad(), slopes);
  const at::Tensor losses = leaf(file.float_input("in.losses")), scales = leaf(file.float_input("in.s"));
  std::vector<at::Tensor> totals;
  for (std::int64_t i = 0; i < losses.size(0); ++i)
    totals.push_back(method::weighted_tasks(losses[i], scales[i], {1.0, 1.0, 0.5}));
  const at::Tensor total = at::stack(totals);
  total.sum().backward();
  file.tensor("out.total", total, values);
  file.tensor("grad_in.s", scales.grad(), slopes);
  file.tensor("grad_in.losses", losses.grad(), slopes);
}

}  // namespace cohort::golden_check
