#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "svg.h"

namespace cohort::report {
namespace {

constexpr double kWidth = 560.0, kHeight = 270.0;
constexpr double kLeft = 56.0, kRight = kWidth - 14.0, kTop = 34.0, kBottom = kHeight - 40.0;

struct Interval {
  double low = 0.0, high = 1.0;
};

/// Where values stand in the picture.
struct Frame {
  Interval x, y;
  [[nodiscard]] double px(double value) const {
    return kLeft + (value - x.low) / (x.high - x.low) * (kRight - kLeft);
  }
  [[nodiscard]] double py(double value) const {
    return kBottom - (value - y.low) / (y.high - y.low) * (kBottom - kTop);
  }
};

/// How the numbers of an axis are written: divided by 10^exponent, which stands in the title.
struct Notation {
  int exponent = 0;
  int decimals = 0;
  bool percent = false;

  Notation(const std::vector<double>& ticks, bool is_fraction) : percent(is_fraction) {
    const double step = (ticks[1] - ticks[0]) * (percent ? 100.0 : 1.0);
    const double largest = std::max(std::abs(ticks.front()), std::abs(ticks.back()));
    if (!percent && largest < 0.0095) exponent = static_cast<int>(std::floor(std::log10(largest)));
    const double shown_step = step / std::pow(10.0, exponent);
    decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(shown_step) - 1e-9)));
  }

  [[nodiscard]] std::string label(double value) const {
    if (percent) return fmt::format("{:.{}f} %", 100.0 * value, decimals);
    const double shown = value / std::pow(10.0, exponent);
    return decimals == 0 ? format_count(std::llround(shown)) : fmt::format("{:.{}f}", shown, decimals);
  }

  [[nodiscard]] std::string scale() const {
    return exponent == 0 ? "" : fmt::format(" × 10<tspan class=\"power\" dy=\"-4\">{}</tspan>", exponent);
  }
};

/// What most values lie in: everything of full curves, up to the 99th percentile of faint ones.
Interval value_range(const Axis& axis, std::span<const Curve> curves) {
  std::vector<double> values;
  double low = INFINITY, high = -INFINITY;
  for (const Curve& curve : curves) {
    for (const auto& [step, value] : curve.points) {
      low = std::min(low, value);
      if (curve.faint)
        values.push_back(value);
      else
        high = std::max(high, value);
    }
  }
  if (!values.empty()) {
    const auto at = values.begin() + (std::ssize(values) - 1) * 99 / 100;
    std::nth_element(values.begin(), at, values.end());
    high = std::max(high, *at);
  }
  if (axis.from_zero) low = std::min(low, 0.0);
  constexpr double kLargest = 1e300;  // the difference of two values stays finite
  return {std::clamp(low, -kLargest, kLargest), std::clamp(high, -kLargest, kLargest)};
}

double last_step(std::span<const Curve> curves) {
  double last = 1.0;
  for (const Curve& curve : curves) {
    if (!curve.points.empty()) last = std::max(last, curve.points.back().first);
  }
  return last;
}

/// At most a few hundred points: of each stretch of steps its lowest and highest value, in order of steps.
Series thinned(const Series& points) {
  constexpr std::size_t kStretches = 300;
  if (points.size() <= 2 * kStretches) return points;
  Series kept;
  for (std::size_t i = 0; i < kStretches; ++i) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(i * points.size() / kStretches);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>((i + 1) * points.size() / kStretches);
    const auto by_value = [](const auto& a, const auto& b) { return a.second < b.second; };
    auto [first, second] = std::minmax_element(begin, end, by_value);
    if (second < first) std::swap(first, second);
    kept.push_back(*first);
    if (first != second) kept.push_back(*second);
  }
  return kept;
}

/// "step 1,200", or the mark's own text.
std::string place_text(const Axis& axis, double x) {
  for (const Mark& mark : axis.marks) {
    if (mark.at == x) return axis.across + " " + mark.text;
  }
  return axis.across + " " + format_count(std::llround(x));
}

/// Many of them: dots of a single path.
std::string points_svg(const Curve& curve, const Frame& frame) {
  std::string places;
  for (const auto& [step, value] : thinned(curve.points))
    places += fmt::format("M{:.1f} {:.1f}h0", frame.px(step), frame.py(value));
  return fmt::format("<path class=\"points c{}\" d=\"{}\"/>\n", curve.colour % 8, places);
}

std::string curve_svg(const Curve& curve, const Frame& frame, const Axis& axis) {
  std::string points;
  for (const auto& [step, value] : thinned(curve.points))
    points += fmt::format("{:.1f},{:.1f} ", frame.px(step), frame.py(value));
  std::string svg =
      fmt::format("<polyline class=\"curve c{}{}\" points=\"{}\"><title>{}</title></polyline>\n",
                  curve.colour % 8, curve.faint ? " faint" : "", points, escaped(curve.name));
  if (curve.faint) return svg;
  if (curve.points.size() > 30) return curve.marked ? svg + points_svg(curve, frame) : svg;
  for (const auto& [step, value] : curve.points) {
    svg += fmt::format(
        "<circle class=\"dot c{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>{}, {}: "
        "{:.6g}</title></circle>\n",
        curve.colour % 8, frame.px(step), frame.py(value), escaped(curve.name),
        escaped(place_text(axis, step)), value);
  }
  return svg;
}

std::vector<Mark> marks_of(const Axis& axis, double last) {
  if (!axis.marks.empty()) return axis.marks;
  std::vector<Mark> marks;
  for (const double tick : nice_ticks(0.0, last, 6)) {
    if (tick <= last) marks.push_back({tick, format_count(std::llround(tick))});
  }
  return marks;
}

std::string axes_svg(const Frame& frame, const std::string& across, const std::vector<Mark>& marks,
                     const std::vector<double>& y_ticks, const Notation& notation) {
  std::string svg;
  for (const double tick : y_ticks) {
    const double y = frame.py(tick);
    svg += fmt::format("<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                       kLeft, kRight, y, y);
    svg += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
                       kLeft - 7, y + 4, notation.label(tick));
  }
  for (const Mark& mark : marks) {
    svg += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                       frame.px(mark.at), kBottom + 17, escaped(mark.text));
  }
  svg += fmt::format("<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>\n",
                     kLeft, kRight, kBottom);
  return svg +
         fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                     (kLeft + kRight) / 2, kHeight - 5, escaped(across));
}

Series smoothed(const Series& points) {
  const double keep = std::exp2(-1.0 / std::max(1.0, static_cast<double>(points.size()) / 50.0));
  Series result;
  double sum = 0.0, weight = 0.0;
  for (const auto& [step, value] : points) {
    sum = keep * sum + value;
    weight = keep * weight + 1.0;
    result.emplace_back(step, sum / weight);
  }
  return result;
}

}  // namespace

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') result += c;
    }
  }
  return result;
}

std::string escaped_title(const std::string& title) {
  std::string html = escaped(title);
  for (const char* arrow : {" ↑", " ↓"}) {
    const std::size_t at = html.find(arrow);
    if (at != std::string::npos) html.replace(at, 1, "&#160;");
  }
  return html;
}

std::string swatch(std::size_t run) {
  return fmt::format("<i class=\"swatch c{}\"></i>", run % 8);
}

std::string legend(std::span<const Run> runs) {
  if (runs.size() < 2) return "";
  std::string html = "<div class=\"legend\">";
  for (std::size_t i = 0; i < runs.size(); ++i)
    html += fmt::format("<span class=\"entry\">{}{}</span>", swatch(i), escaped(runs[i].name));
  return html + "</div>\n";
}

std::vector<double> nice_ticks(double low, double high, int count) {
  // Below this, ticks would not differ as doubles.
  if (high - low <= 1e-9 * std::max(std::abs(low), std::abs(high))) {
    const double around = low == 0.0 ? 1.0 : std::abs(low) * 0.5;
    high = low + around;
    low -= low == 0.0 ? 0.0 : around;
  }
  const double rough = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double step = power * (rough / power < 1.5   ? 1.0
                               : rough / power < 3.5 ? 2.0
                               : rough / power < 7.5 ? 5.0
                                                     : 10.0);
  std::vector<double> ticks;
  const double last = std::ceil(high / step - 1e-9);
  for (double i = std::floor(low / step + 1e-9); i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

std::string line_chart(const Axis& axis, std::span<const Curve> curves) {
  const Interval range = value_range(axis, curves);
  const std::vector<double> y_ticks = nice_ticks(range.low, range.high, 5);
  const Interval across = axis.marks.size() < 2 ? Interval{0.0, last_step(curves)}
                                                : Interval{axis.marks.front().at, axis.marks.back().at};
  const Frame frame{across, {y_ticks.front(), y_ticks.back()}};
  const Notation notation(y_ticks, axis.is_fraction);
  std::string svg =
      fmt::format("<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\">\n", kWidth, kHeight);
  svg +=
      fmt::format("<text class=\"title\" x=\"0\" y=\"16\">{}<tspan class=\"unit\">{}{}</tspan></text>\n",
                  escaped(axis.title), axis.unit.empty() ? "" : "  " + escaped(axis.unit), notation.scale());
  svg += axes_svg(frame, axis.across, marks_of(axis, across.high), y_ticks, notation);
  // A nested picture cuts off what leaves its frame.
  svg += fmt::format("<svg x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{3}\" viewBox=\"{0} {1} {2} {3}\">\n",
                     kLeft - 4, kTop - 4, kRight - kLeft + 8, kBottom - kTop + 8);
  for (const Curve& curve : curves) svg += curve_svg(curve, frame, axis);
  return svg + "</svg>\n</svg>\n";
}

std::vector<Curve> plain_curves(std::span<const Run> runs, const std::string& key) {
  std::vector<Curve> curves;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto found = runs[i].series.find(key);
    if (found != runs[i].series.end() && !found->second.empty())
      curves.push_back({runs[i].name, i, found->second, false});
  }
  return curves;
}

std::vector<Curve> smoothed_curves(std::span<const Run> runs, const std::string& key) {
  const std::vector<Curve> plain = plain_curves(runs, key);
  std::vector<Curve> curves = plain;
  for (Curve& curve : curves) curve.faint = true;
  for (const Curve& curve : plain) {
    const auto& means = runs[curve.colour].means;
    const auto found = means.find(key);
    curves.push_back(
        {curve.name, curve.colour, smoothed(found == means.end() ? curve.points : found->second), false});
  }
  return curves;
}

}  // namespace cohort::report
