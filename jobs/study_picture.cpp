#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "study_table.h"

namespace cohort::jobs {
namespace {

constexpr double kLeft = 190, kRight = 620, kWidth = 760, kTop = 24, kRow = 20, kSpace = 40;

// Of a palette that people with any colour vision tell apart (Okabe and Ito).
constexpr std::array kColours{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"};

std::string xml_text(const std::string& text) {
  std::string escaped;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      default:
        escaped += letter;
    }
  }
  return escaped;
}

RunsInterval mean_of_runs(const GroupResult& result) {
  std::vector<double> values;
  for (const auto& [place, value] : result.scores) values.push_back(value);
  return runs_interval(values);
}

double end_of_interval(const RunsInterval& interval) {
  return std::max(0.0, interval.mean) + (interval.runs > 1 ? interval.half_width : 0.0);
}

/// What the width stands for: 1 unless scores are larger.
double full_scale(std::span<const GroupResult> results) {
  double most = 1.0;
  for (const GroupResult& result : results) {
    if (!result.scores.empty()) most = std::max(most, end_of_interval(mean_of_runs(result)));
  }
  return most;
}

std::string bar_svg(const Study& study, const GroupResult& result, double top, double scale) {
  const auto x = [&](double value) { return kLeft + (kRight - kLeft) * std::clamp(value / scale, 0.0, 1.0); };
  const std::size_t encoder = result.group.encoder;
  const double middle = top + kRow / 2 - 1;
  std::string svg = fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 8,
                                middle + 4, xml_text(study.encoders[encoder].name));
  const RunsInterval interval = mean_of_runs(result);
  if (interval.runs == 0)
    return svg +
           fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">no run has ended</text>\n", kLeft + 4, middle + 4);
  svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n",
                     kLeft, top, x(interval.mean) - kLeft, kRow - 4, kColours[encoder % kColours.size()]);
  std::string text = fmt::format("{:.4f}", interval.mean);
  if (interval.runs > 1) {
    svg += fmt::format("<path d=\"M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}v8M{1:.1f} {3:.1f}v8\"/>\n",
                       x(interval.mean - interval.half_width), x(interval.mean + interval.half_width), middle,
                       middle - 4);
    text += fmt::format(" ± {:.4f}", interval.half_width);
  }
  return svg + fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x(end_of_interval(interval)) + 6,
                           middle + 4, text);
}

bool is_same_column(const StudyGroup& a, const StudyGroup& b) {
  return a.task == b.task && a.mode == b.mode;
}

}  // namespace

std::string study_picture(const Study& study, const std::vector<GroupResult>& results) {
  std::vector<GroupResult> ordered = results;  // encoders of a task and mode below each other
  std::stable_sort(ordered.begin(), ordered.end(), [](const GroupResult& a, const GroupResult& b) {
    return std::pair(a.group.task, a.group.mode) < std::pair(b.group.task, b.group.mode);
  });
  const double scale = full_scale(results);
  double y = kTop;
  std::string body;
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    const StudyGroup& group = ordered[i].group;
    if (i == 0 || !is_same_column(group, ordered[i - 1].group)) {
      y += i == 0 ? 0 : kSpace - kRow;
      const StudyTask& task = study.tasks[group.task];
      body += fmt::format("<text class=\"title\" x=\"{:.1f}\" y=\"{:.1f}\">{}, {}: {}</text>\n", kLeft, y - 8,
                          xml_text(task.name), mode_name(group.mode), xml_text(task.score));
    }
    body += bar_svg(study, ordered[i], y, scale);
    y += kRow;
  }
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\">\n"
             "<style>:root{{background:#fff;color-scheme:light dark}}text{{font:12px sans-serif;fill:#222}}"
             ".title{{font-weight:bold}}path{{stroke:#222;fill:none}}"
             "@media(prefers-color-scheme:dark){{:root{{background:#181818}}text{{fill:#ddd}}path{{stroke:#"
             "ddd}}}}"
             "</style>\n",
             kWidth, y + 12) +
         body + "</svg>\n";
}

}  // namespace cohort::jobs
