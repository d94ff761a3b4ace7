#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "run.h"

namespace cohort::report {

/// Text for HTML and attributes: & < > " ' escaped, control characters removed.
std::string escaped(const std::string& text);
/// The same of a title; an arrow stays with the word before it.
std::string escaped_title(const std::string& title);

/// A curve of run `colour`; drawn faint where it is the unsmoothed one.
struct Curve {
  std::string name;
  std::size_t colour = 0;
  Series points;
  bool faint = false;
  bool marked = false;  ///< each value is a point, however many there are
};

/// A place of the horizontal axis, and what stands below it.
struct Mark {
  double at = 0.0;
  std::string text;
};

/// How the values of a chart are to be read.
struct Axis {
  std::string title;  ///< "loss"
  std::string unit;   ///< shown behind the title; empty: none
  bool from_zero = false;
  bool is_fraction = false;     ///< labelled in percent
  std::string across = "step";  ///< what goes from left to right
  /// From the first to the last, ascending; empty: from 0 to the last step.
  std::vector<Mark> marks{};
};

/// Marks of an axis: at multiples of 1, 2 or 5 times a power of ten, about `count` of them, from below low to
/// above high. Values in between when low equals high.
std::vector<double> nice_ticks(double low, double high, int count);

/// An <svg> with curves over the step, or what else goes across. Values far above the others (beyond the 99th
/// percentile of faint curves) are cut off.
std::string line_chart(const Axis& axis, std::span<const Curve> curves);

/// The curves of one key: each run's values, faint, and smoothed over about a fiftieth of the run.
std::vector<Curve> smoothed_curves(std::span<const Run> runs, const std::string& key);
/// The curves of one key as they are.
std::vector<Curve> plain_curves(std::span<const Run> runs, const std::string& key);

/// How many contexts bars show at most.
inline constexpr std::size_t kMostContexts = 100;

/// An <svg> with a bar for every run and context of a key, of `most` contexts: the first score with its 95 %
/// interval, worst of the first run on top.
std::string context_bars(std::span<const Run> runs, const Split& split, const std::string& key,
                         std::size_t most = kMostContexts);

/// A square of the colour of run `run`.
std::string swatch(std::size_t run);
/// The runs and their colours; empty for a single one.
std::string legend(std::span<const Run> runs);

}  // namespace cohort::report
