#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "scores.h"
#include "svg.h"

namespace cohort::report {
namespace {

constexpr double kBarsWidth = 1080.0, kBarsLeft = 210.0, kBarsRight = kBarsWidth - 130.0, kBarsTop = 40.0;
constexpr double kBar = 12.0, kGap = 8.0;
constexpr std::size_t kMostContexts = 100;

/// The scores of one context; null where a run does not have it.
struct Group {
  std::string name;
  std::int64_t images = 0;
  std::vector<const Context*> of_run;
};

double px(double fraction) {
  return kBarsLeft + fraction * (kBarsRight - kBarsLeft);
}

std::vector<Group> grouped(std::span<const Run> runs, const std::string& split) {
  std::vector<Group> groups;
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Evaluation* evaluation = runs[i].last(split);
    if (evaluation == nullptr) continue;
    for (const Context& context : evaluation->contexts) {
      const auto [at, is_new] = index.emplace(context.name, groups.size());
      if (is_new) groups.push_back({context.name, context.images, std::vector<const Context*>(runs.size())});
      groups[at->second].of_run[i] = &context;
    }
  }
  return groups;
}

/// By the accuracy of the first run that has the context, lowest first.
void sort_by_accuracy(std::vector<Group>& groups) {
  const auto accuracy = [](const Group& group) {
    const auto has_it = [](const Context* context) { return context != nullptr; };
    return (*std::find_if(group.of_run.begin(), group.of_run.end(), has_it))->accuracy;
  };
  std::stable_sort(groups.begin(), groups.end(),
                   [&](const Group& a, const Group& b) { return accuracy(a) < accuracy(b); });
}

std::string shortened(const std::string& name) {
  constexpr std::size_t kMost = 22;
  std::size_t characters = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if ((name[i] & 0xC0) != 0x80 && ++characters == kMost) return name.substr(0, i) + "…";
  }
  return name;
}

std::string bar_svg(const Context& context, std::size_t run, const std::string& run_name, double y,
                    bool is_worst) {
  const double middle = y + kBar / 2;
  std::string svg =
      fmt::format("<g class=\"c{}\"><title>{}: {}, {} (95 % interval {} … {}), {} images</title>", run % 8,
                  escaped(run_name), escaped(context.name), percent(context.accuracy), percent(context.low),
                  percent(context.high), format_count(context.images));
  svg +=
      fmt::format("<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" rx=\"2\"/>",
                  kBarsLeft, y, std::max(1.0, px(context.accuracy) - kBarsLeft), kBar);
  svg += fmt::format(
      "<path class=\"whisker\" d=\"M{0:.1f} {1:.1f}H{2:.1f}M{0:.1f} {3:.1f}v5M{2:.1f} {3:.1f}v5\"/>",
      px(context.low), middle, px(context.high), middle - 2.5);
  svg += fmt::format("<text class=\"value\" x=\"{:.1f}\" y=\"{:.1f}\">{}{}</text></g>\n", kBarsRight + 10,
                     middle + 4.0, percent(context.accuracy),
                     is_worst ? " <tspan class=\"worst\">◂ worst</tspan>" : "");
  return svg;
}

std::string group_svg(const Group& group, std::span<const Run> runs, const std::string& split, double y) {
  const double middle = y + kBar * static_cast<double>(runs.size()) / 2;
  std::string svg = fmt::format(
      "<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}"
      "<tspan class=\"unit\">  {}</tspan><title>{}</title></text>\n",
      kBarsLeft - 8, middle + 4, escaped(shortened(group.name)), format_count(group.images),
      escaped(group.name));
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (group.of_run[i] == nullptr) continue;
    const bool is_worst = runs[i].last(split)->worst() == group.of_run[i];
    svg += bar_svg(*group.of_run[i], i, runs[i].name, y + kBar * static_cast<double>(i), is_worst);
  }
  return svg;
}

std::string scale_svg(double bottom) {
  std::string svg;
  for (int tick = 0; tick <= 100; tick += 20) {
    svg += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>",
                       px(tick / 100.0), kBarsTop - 4, bottom);
    svg += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{} %</text>\n",
                       px(tick / 100.0), bottom + 16, tick);
  }
  return svg +
         fmt::format(
             "<text class=\"unit\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">context, images</text>\n",
             kBarsLeft - 8, kBarsTop - 12);
}

std::string majority_svg(double majority, double bottom) {
  if (std::isnan(majority)) return "";
  return fmt::format(
      "<line class=\"majority\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
      "<text class=\"unit\" x=\"{0:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">majority class {4}</text>\n",
      px(majority), kBarsTop - 8, bottom, kBarsTop - 12, percent(majority));
}

double majority_of(std::span<const Run> runs, const std::string& split) {
  for (const Run& run : runs) {
    if (const Evaluation* evaluation = run.last(split)) return evaluation->majority;
  }
  return 0.0;
}

}  // namespace

std::string context_bars(std::span<const Run> runs, const std::string& split) {
  std::vector<Group> groups = grouped(runs, split);
  sort_by_accuracy(groups);
  const std::size_t left_out = groups.size() - std::min(groups.size(), kMostContexts);
  groups.resize(groups.size() - left_out);
  const double step = kBar * static_cast<double>(runs.size()) + kGap;
  const double bottom = kBarsTop + step * static_cast<double>(groups.size());
  const double height = bottom + (left_out == 0 ? 24 : 44);
  std::string svg =
      fmt::format("<svg class=\"bars\" viewBox=\"0 0 {} {:.0f}\" role=\"img\">\n", kBarsWidth, height);
  svg += scale_svg(bottom);
  for (std::size_t i = 0; i < groups.size(); ++i)
    svg += group_svg(groups[i], runs, split, kBarsTop + step * static_cast<double>(i));
  svg += majority_svg(majority_of(runs, split), bottom);
  if (left_out > 0) {
    svg += fmt::format(
        "<text class=\"unit\" x=\"{:.1f}\" y=\"{:.1f}\">{} contexts of higher accuracy are not "
        "shown</text>\n",
        kBarsLeft, bottom + 36, format_count(static_cast<std::int64_t>(left_out)));
  }
  return svg + "</svg>\n";
}

}  // namespace cohort::report
