#include "cohort/config/field.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::config {

Field* Fields::find(std::string_view key) noexcept {
  const auto found =
      std::find_if(fields_.begin(), fields_.end(), [&](const Field& f) { return f.key == key; });
  return found == fields_.end() ? nullptr : &*found;
}

std::vector<std::string> Fields::keys() const {
  std::vector<std::string> keys;
  for (const Field& field : fields_) keys.push_back(field.key);
  return keys;
}

void Fields::choice(std::string_view key, std::string& value, const std::vector<std::string>& names,
                    std::string_view description) {
  Field field;
  field.key = prefix_ + std::string(key);
  field.type = "one of " + scalar::one_of(names);
  field.description = description;
  field.names = names;
  field.set = [&value, names](const std::vector<std::string>& texts) {
    if (texts.size() != 1) throw std::invalid_argument("expected one value, not a list");
    const auto found = std::find(names.begin(), names.end(), texts.front());
    if (found == names.end()) scalar::unknown_name(texts.front(), names);
    value = *found;
  };
  field.get = [&value] { return std::vector<std::string>{value}; };
  fields_.push_back(std::move(field));
}

void Fields::remove_section(std::string_view key) {
  const std::string inside = std::string(key) + ".";
  std::erase_if(fields_, [&](const Field& field) { return field.key.starts_with(inside); });
  std::erase_if(sections_, [&](const Section& s) { return s.key == key || s.key.starts_with(inside); });
}

void Fields::check_keys() const {
  std::set<std::string_view> seen;
  for (const Section& section : sections_) {
    COHORT_CHECK(seen.insert(section.key).second, "two sections '{}'", section.key);
  }
  for (const Field& field : fields_)
    COHORT_CHECK(seen.insert(field.key).second, "two options '{}'", field.key);
}

std::string Fields::range_text(double low, double high, std::string (*print)(double)) {
  // 2^63 is what the largest std::int64_t becomes as a double.
  const bool has_low = low > -0x1p63;
  const bool has_high = high < 0x1p63;
  if (has_low && has_high) return fmt::format("{} … {}", print(low), print(high));
  if (has_low) return "at least " + print(low);
  if (has_high) return "at most " + print(high);
  return "";
}

namespace scalar {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Within a kind, larger units first: print takes the first one that divides.
constexpr std::array kDurations{Unit{"d", 86400}, Unit{"h", 3600}, Unit{"min", 60}, Unit{"s", 1}};
constexpr std::array kSizes{Unit{"TiB", std::uint64_t{1} << 40},
                            Unit{"TB", 1'000'000'000'000},
                            Unit{"GiB", std::uint64_t{1} << 30},
                            Unit{"GB", 1'000'000'000},
                            Unit{"MiB", 1U << 20},
                            Unit{"MB", 1'000'000},
                            Unit{"KiB", 1024},
                            Unit{"kB", 1000},
                            Unit{"KB", 1000},
                            Unit{"B", 1}};

template <class Number>
bool read_whole(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

template <class Integer>
void parse_integer(const std::string& text, Integer& value) {
  if (read_whole(text, value)) return;
  const std::size_t digits_at = text.starts_with('-') ? 1 : 0;
  const bool is_integer =
      text.size() > digits_at && text.find_first_not_of("0123456789", digits_at) == std::string::npos;
  if (!is_integer) throw std::invalid_argument("expected an integer");
  using Limits = std::numeric_limits<Integer>;
  throw std::invalid_argument(fmt::format("expected an integer in {} … {}", Limits::min(), Limits::max()));
}

// A whole number with one of the units; `bare` is the factor of a number without one. Nothing if it is not,
// or too large.
std::optional<std::uint64_t> read_with_unit(std::string_view text, std::span<const Unit> units,
                                            std::uint64_t bare) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  std::uint64_t count = 0;
  if (!read_whole(text.substr(0, digits), count)) return std::nullopt;
  std::string_view name = text.substr(digits);
  name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
  const auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == name; });
  const std::uint64_t factor = name.empty()          ? (count == 0 ? 1 : bare)
                               : unit == units.end() ? 0
                                                     : unit->factor;
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (factor == 0 || count > kMost / factor) return std::nullopt;
  return count * factor;
}

std::string print_with_unit(std::uint64_t count, std::span<const Unit> units) {
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& u) { return count % u.factor == 0; });
  return fmt::format("{}{}", count / unit->factor, unit->name);
}

}  // namespace

void parse(const std::string& text, bool& value) {
  if (text != "true" && text != "false") throw std::invalid_argument("expected true or false");
  value = text == "true";
}

void parse(const std::string& text, std::int64_t& value) {
  parse_integer(text, value);
}
void parse(const std::string& text, std::uint64_t& value) {
  parse_integer(text, value);
}
void parse(const std::string& text, int& value) {
  parse_integer(text, value);
}

void parse(const std::string& text, double& value) {
  if (!read_whole(text, value) || !std::isfinite(value)) throw std::invalid_argument("expected a number");
}

void parse(const std::string& text, std::string& value) {
  value = text;
}
void parse(const std::string& text, std::filesystem::path& value) {
  value = text;
}

void parse(const std::string& text, std::chrono::seconds& value) {
  const auto seconds = read_with_unit(text, kDurations, 0);
  if (!seconds) throw std::invalid_argument("expected a duration such as 30s, 10min or 12h");
  value = std::chrono::seconds(static_cast<std::int64_t>(*seconds));
}

void parse(const std::string& text, Bytes& value) {
  const auto bytes = read_with_unit(text, kSizes, 1);
  if (!bytes) throw std::invalid_argument("expected a size such as 64MiB, 1GB or 4096");
  value.count = *bytes;
}

std::string print(bool value) {
  return value ? "true" : "false";
}
std::string print(std::int64_t value) {
  return fmt::format("{}", value);
}
std::string print(std::uint64_t value) {
  return fmt::format("{}", value);
}
std::string print(int value) {
  return fmt::format("{}", value);
}
std::string print(double value) {
  return fmt::format("{}", value);
}
std::string print(const std::string& value) {
  return value;
}
std::string print(const std::filesystem::path& value) {
  return value.string();
}

std::string print(std::chrono::seconds value) {
  COHORT_CHECK(value.count() >= 0, "a negative duration: {} s", value.count());
  if (value.count() == 0) return "0s";
  return print_with_unit(static_cast<std::uint64_t>(value.count()), kDurations);
}

std::string print(const Bytes& value) {
  if (value.count % 1000 != 0 && value.count % 1024 != 0) return fmt::format("{}", value.count);
  return value.count == 0 ? "0" : print_with_unit(value.count, kSizes);
}

void unknown_name(const std::string& text, const std::vector<std::string>& names) {
  std::vector<std::string> sorted = names;
  if (const auto near = nearest(text, names)) {
    std::rotate(sorted.begin(), std::find(sorted.begin(), sorted.end(), *near), sorted.end());
  }
  throw std::invalid_argument("expected one of " + one_of(sorted));
}

std::string one_of(const std::vector<std::string>& names) {
  return join(names, ", ");
}

void out_of_range(const std::string& accepted) {
  throw std::invalid_argument((accepted.starts_with("at ") ? "expected " : "expected a value in ") +
                              accepted);
}

}  // namespace scalar
}  // namespace cohort::config
