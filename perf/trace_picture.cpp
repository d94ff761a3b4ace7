#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "trace.h"

namespace cohort::perf {
namespace {

constexpr double kWidth = 1200, kLeft = 170, kRight = kWidth - 20, kRow = 17, kTop = 62;
constexpr double kLetter = 5.6;  // pixels, of the labels

struct Colour {
  std::string_view kind, fill, meaning;
};
constexpr std::array kColours{Colour{"forward", "#9ecae9", "forward"},
                              Colour{"backward", "#ffbf79", "backward"},
                              Colour{"optimizer", "#d6a5c9", "optimizer"},
                              Colour{"data", "#d8b5a5", "data"},
                              Colour{"communication", "#88d27a", "collective under way"},
                              Colour{"wait", "#ff6b66", "waiting for other ranks"},
                              Colour{"evaluation", "#f2cf5b", "evaluation"},
                              Colour{"checkpoint", "#bab0ac", "checkpoint"}};

std::string_view fill_of(const std::string& kind) {
  const auto found = std::find_if(kColours.begin(), kColours.end(),
                                  [&](const Colour& colour) { return colour.kind == kind; });
  return found == kColours.end() ? "#cccccc" : found->fill;
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    result += letter == '&' ? "&amp;" : letter == '<' ? "&lt;" : std::string(1, letter);
  }
  return result;
}

std::string text_at(double x, double y, std::string_view text, std::string_view style = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}>{}</text>\n", x, y, style, escaped(text));
}

/// Time to pixels.
struct Scale {
  double begin, end;
  [[nodiscard]] double operator()(double time) const {
    return kLeft + (time - begin) / (end - begin) * (kRight - kLeft);
  }
};

// The whole name, or its number, or nothing: what fits.
std::string label(const std::string& name, double width) {
  const auto fits = [&](const std::string& text) {
    return static_cast<double>(text.size()) * kLetter < width;
  };
  if (fits(name)) return name;
  const std::string number = name.substr(name.rfind(' ') + 1);
  return number.find_first_not_of("0123456789") == std::string::npos && fits(number) ? number : "";
}

std::string draw_span(const Span& span, double y, const Scale& scale) {
  const double x = scale(span.begin), width = std::max(scale(span.end) - x, 0.4);
  std::string text = fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.0f}\" fill=\"{}\" stroke=\"#ffffff\" "
      "stroke-width=\"0.5\"><title>{}: {:.2f} "
      "ms</title></rect>\n",
      x, y, width, kRow - 2, fill_of(span.kind), escaped(span.name), span.end - span.begin);
  if (const std::string name = label(span.name, width - 2); !name.empty())
    text += text_at(x + width / 2, y + kRow - 6, name, " text-anchor=\"middle\"");
  return text;
}

std::vector<std::string> lanes_of(const RankStep& rank) {
  std::vector<std::string> lanes;
  for (const Span& span : rank.spans) {
    if (std::find(lanes.begin(), lanes.end(), span.lane) == lanes.end()) lanes.push_back(span.lane);
  }
  const auto place = [](const std::string& lane) {
    return lane == "compute" ? 0 : lane.starts_with("communication") ? 1 : 2;
  };
  std::sort(lanes.begin(), lanes.end(), [&](const std::string& a, const std::string& b) {
    return std::pair(place(a), a) < std::pair(place(b), b);
  });
  return lanes;
}

// Spans within the step, a row for each depth. The compute lane's first depth is the step, which is the
// picture.
std::string draw_lane(const RankStep& rank, const std::string& lane, const Scale& scale, double& y) {
  const std::size_t outer = lane == "compute" ? 1 : 0;
  std::size_t deepest = outer;
  std::string spans;
  for (const Span& span : rank.spans) {
    if (span.lane != lane) continue;
    const std::size_t depth = std::max(span.depth, outer);
    deepest = std::max(deepest, depth);
    spans += draw_span(span, y + static_cast<double>(depth - outer) * kRow, scale);
  }
  const double height = static_cast<double>(deepest - outer + 1) * kRow;
  const std::string frame =
      fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.0f}\" fill=\"#f4f4f4\"/>\n",
                  scale(rank.step.begin), y, scale(rank.step.end) - scale(rank.step.begin), height - 2);
  const std::string name = text_at(kLeft - 8, y + kRow - 6, lane, " text-anchor=\"end\"");
  y += height + 2;
  return name + frame + spans;
}

std::string draw_legend(const std::vector<RankStep>& ranks) {
  std::set<std::string> kinds;
  for (const RankStep& rank : ranks) {
    for (const Span& span : rank.spans) kinds.insert(span.kind);
  }
  std::string text;
  double x = kLeft;
  for (const Colour& colour : kColours) {
    if (!kinds.contains(std::string(colour.kind))) continue;
    text +=
        fmt::format("<rect x=\"{:.0f}\" y=\"34\" width=\"12\" height=\"12\" fill=\"{}\"/>\n", x, colour.fill);
    text += text_at(x + 17, 44, colour.meaning);
    x += 40 + static_cast<double>(colour.meaning.size()) * kLetter;
  }
  return text;
}

// Marks at multiples of 1, 2 or 5 times a power of ten, ten of them or a few more.
std::string draw_axis(const Scale& scale, double bottom) {
  const double span = scale.end - scale.begin, power = std::pow(10.0, std::floor(std::log10(span / 10)));
  double every = power;
  for (const double factor : {2.0, 5.0, 10.0}) {
    if (span / every > 15) every = factor * power;
  }
  std::string text;
  for (double time = 0; time <= span; time += every) {
    const double x = scale(scale.begin + time);
    text +=
        fmt::format("<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"#d0d0d0\"/>\n", x,
                    kTop - 6, bottom);
    text += text_at(x, bottom + 14, fmt::format("{:g}", time), " text-anchor=\"middle\"");
  }
  return text + text_at(kRight, bottom + 28, "ms", " text-anchor=\"end\"");
}

}  // namespace

std::string draw_step(const std::vector<RankStep>& ranks) {
  Scale scale{ranks.front().step.begin, ranks.front().step.end};
  for (const RankStep& rank : ranks) {
    scale.begin = std::min(scale.begin, rank.step.begin);
    scale.end = std::max(scale.end, rank.step.end);
  }
  std::string body;
  double y = kTop;
  for (const RankStep& rank : ranks) {
    body += text_at(12, y + kRow - 6, fmt::format("rank {}", rank.step.rank), " font-weight=\"bold\"");
    for (const std::string& lane : lanes_of(rank)) body += draw_lane(rank, lane, scale, y);
    y += 10;
  }
  const double height = y + 36;
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" width=\"{0}\" "
             "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"10\" fill=\"#222222\">\n"
             "<rect width=\"{0}\" height=\"{1:.0f}\" fill=\"#ffffff\"/>\n",
             kWidth, height) +
         text_at(kLeft, 22, fmt::format("{} on {} ranks", ranks.front().step.name, ranks.size()),
                 " font-size=\"14\"") +
         draw_legend(ranks) + draw_axis(scale, y) + body + "</svg>\n";
}

}  // namespace cohort::perf
