#pragma once
#include <chrono>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace cohort::config {

/// Accepted values of a number, both ends included; checked while parsing and shown by --help.
template <class T>
struct Range {
  T low;
  T high;
};

template <class T>
Range(T, T) -> Range<T>;  // clang before 17 does not deduce it

/// A size in bytes; written in configurations with a unit: 64MiB, 1GB, 4096.
struct Bytes {
  std::uint64_t count = 0;
  friend bool operator==(const Bytes&, const Bytes&) = default;
};

/// One name of an enum value. An enum is a config field once `std::span<const EnumName<E>> enum_names(E)` is
/// found beside it (by argument-dependent lookup); the argument only selects the overload.
template <class E>
struct EnumName {
  E value;
  std::string_view name;
};

template <class E>
concept NamedEnum = std::is_enum_v<E> && requires(E value) {
  { enum_names(value) } -> std::convertible_to<std::span<const EnumName<E>>>;
};

/// Name of an enum value, as configurations write it.
template <NamedEnum E>
std::string_view enum_name(E value) {
  for (const auto& entry : std::span<const EnumName<E>>(enum_names(value))) {
    if (entry.value == value) return entry.name;
  }
  return "?";
}

/// One option, its type erased. Reader, dumper, --help and docs/config.md all work on a list of these.
struct Field {
  std::string key;   ///< dotted from the root: "optimizer.lr"
  std::string type;  ///< "integer", "number", "text", "true or false", "duration", "bytes", "one of a, b",
                     ///< "list of …"
  std::string description;         ///< one sentence without a full stop
  std::string accepted;            ///< "0 … 10", "at least 1", "1s … 24h"; empty: no limit
  std::vector<std::string> names;  ///< all values of a named enum; empty for other types
  bool is_list = false;
  /// Parses and stores. Throws std::invalid_argument whose text tells what was expected ("expected an
  /// integer").
  std::function<void(const std::vector<std::string>&)> set;
  /// The present value: one element, or the elements of a list; as `set` takes them.
  std::function<std::vector<std::string>()> get;
  std::string origin = "default";  ///< where the value came from: "configs/base.yaml:12", "command line"
};

/// The options of a struct, in order. Every component keeps its options in a struct beside it, with one
/// `template <class Visit> void fields(Visit& visit)` that calls, once per option,
///   visit("lr", lr, "peak learning rate", Range{0.0, 10.0});     a value, with or without accepted values
///   visit.section("optimizer", optimizer, "how weights move");   a nested struct of options, or erased ones
/// Types: bool, integers, double, std::string, std::filesystem::path, std::chrono::seconds (30s, 10min, 12h),
/// Bytes, named enums, and std::vector of integers, doubles or strings. A Range of durations counts seconds,
/// one of Bytes counts bytes; the largest number of a type means no limit. Holds pointers into the struct,
/// which must outlive it and not move.
class Fields {
 public:
  template <class Options>
  explicit Fields(Options& options) {
    options.fields(*this);
    check_keys();
  }

  template <class T>
  void operator()(std::string_view key, T& value, std::string_view description) {
    add(key, value, description, "", [](const T&) { return true; });
  }

  template <class T, class R>
  void operator()(std::string_view key, T& value, std::string_view description, Range<R> range) {
    add(key, value, description,
        range_text(static_cast<double>(range.low), static_cast<double>(range.high), print_bound<T>),
        [range](const T& parsed) { return in_range(parsed, range); });
  }

  /// One of `names`, which are known only when the program runs: those of a registry.
  void choice(std::string_view key, std::string& value, const std::vector<std::string>& names,
              std::string_view description);

  template <class Options>
  void section(std::string_view key, Options& options, std::string_view description) {
    const std::string outer = std::exchange(prefix_, prefix_ + std::string(key) + ".");
    sections_.push_back({prefix_.substr(0, prefix_.size() - 1), std::string(description)});
    options.fields(*this);
    prefix_ = outer;
  }
  /// Leaves out the options of a section; none of that name: nothing.
  void remove_section(std::string_view key);

  struct Section {
    std::string key;
    std::string description;
  };

  [[nodiscard]] std::span<Field> list() noexcept { return fields_; }
  [[nodiscard]] std::span<const Field> list() const noexcept { return fields_; }
  [[nodiscard]] std::span<const Section> sections() const noexcept { return sections_; }
  /// Null when there is no such key.
  [[nodiscard]] Field* find(std::string_view key) noexcept;
  [[nodiscard]] std::vector<std::string> keys() const;

 private:
  template <class T, class Accepts>
  void add(std::string_view key, T& value, std::string_view description, const std::string& accepted,
           Accepts accepts);
  template <class T, class R>
  static bool in_range(const T& parsed, Range<R> range);
  template <class T>
  static std::string print_bound(double bound);
  static std::string range_text(double low, double high, std::string (*print)(double));
  void check_keys() const;  ///< Bug when two options have the same key

  std::vector<Field> fields_;
  std::vector<Section> sections_;
  std::string prefix_;
};

// Conversions between text and values; parse throws std::invalid_argument ("expected an integer"), print
// gives text that parse reads back to the same value. Durations need a unit (s, min, h, d; "0" is fine
// without); sizes may have one (B, kB, MB, GB, TB of 1000; KiB, MiB, GiB, TiB of 1024). Numbers are finite.
namespace scalar {
void parse(const std::string& text, bool& value);
void parse(const std::string& text, std::int64_t& value);
void parse(const std::string& text, std::uint64_t& value);
void parse(const std::string& text, int& value);
void parse(const std::string& text, double& value);
void parse(const std::string& text, std::string& value);
void parse(const std::string& text, std::filesystem::path& value);
void parse(const std::string& text, std::chrono::seconds& value);
void parse(const std::string& text, Bytes& value);
std::string print(bool value);
std::string print(std::int64_t value);
std::string print(std::uint64_t value);
std::string print(int value);
std::string print(double value);  ///< shortest text that reads back to the same double
std::string print(const std::string& value);
std::string print(const std::filesystem::path& value);
std::string print(std::chrono::seconds value);
std::string print(const Bytes& value);

template <class T>
std::string type_name() {
  if constexpr (std::is_same_v<T, bool>)
    return "true or false";
  else if constexpr (std::is_integral_v<T>)
    return "integer";
  else if constexpr (std::is_floating_point_v<T>)
    return "number";
  else if constexpr (std::is_same_v<T, std::filesystem::path>)
    return "path";
  else if constexpr (std::is_same_v<T, std::chrono::seconds>)
    return "duration";
  else if constexpr (std::is_same_v<T, Bytes>)
    return "bytes";
  else
    return "text";
}

/// Throws std::invalid_argument listing the names, with the nearest one first.
[[noreturn]] void unknown_name(const std::string& text, const std::vector<std::string>& names);

template <NamedEnum E>
std::vector<std::string> names_of() {
  std::vector<std::string> names;
  for (const auto& entry : std::span<const EnumName<E>>(enum_names(E{}))) names.emplace_back(entry.name);
  return names;
}

template <NamedEnum E>
void parse(const std::string& text, E& value) {
  for (const auto& entry : std::span<const EnumName<E>>(enum_names(E{}))) {
    if (entry.name == text) {
      value = entry.value;
      return;
    }
  }
  unknown_name(text, names_of<E>());
}

template <NamedEnum E>
std::string print(E value) {
  return std::string(enum_name(value));
}

/// "a, b, c".
std::string one_of(const std::vector<std::string>& names);
/// Throws std::invalid_argument naming the accepted values.
[[noreturn]] void out_of_range(const std::string& accepted);
}  // namespace scalar

template <class T>
inline constexpr bool is_list_v = false;
template <class T>
inline constexpr bool is_list_v<std::vector<T>> = true;

template <class T>
std::string Fields::print_bound(double bound) {
  if constexpr (std::is_same_v<T, std::chrono::seconds>) {
    return scalar::print(std::chrono::seconds(static_cast<std::int64_t>(bound)));
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return scalar::print(Bytes{static_cast<std::uint64_t>(bound)});
  } else {
    return scalar::print(bound);
  }
}

template <class T, class R>
bool Fields::in_range(const T& parsed, Range<R> range) {
  auto inside = [&](const auto& number) {
    return static_cast<double>(number) >= static_cast<double>(range.low) &&
           static_cast<double>(number) <= static_cast<double>(range.high);
  };
  if constexpr (is_list_v<T>) {
    for (const auto& number : parsed) {
      if (!inside(number)) return false;
    }
    return true;
  } else if constexpr (std::is_same_v<T, std::chrono::seconds>) {
    return inside(parsed.count());
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return inside(parsed.count);
  } else {
    return inside(parsed);
  }
}

template <class T, class Accepts>
void Fields::add(std::string_view key, T& value, std::string_view description, const std::string& accepted,
                 Accepts accepts) {
  Field field;
  field.key = prefix_ + std::string(key);
  field.description = description;
  field.accepted = accepted;
  field.is_list = is_list_v<T>;
  if constexpr (is_list_v<T>) {
    field.type = "list of " + scalar::type_name<typename T::value_type>() + "s";
  } else if constexpr (NamedEnum<T>) {
    field.names = scalar::names_of<T>();
    field.type = "one of " + scalar::one_of(field.names);
  } else {
    field.type = scalar::type_name<T>();
  }
  field.set = [&value, accepted, accepts](const std::vector<std::string>& texts) {
    T parsed{};
    if constexpr (is_list_v<T>) {
      for (const std::string& text : texts) scalar::parse(text, parsed.emplace_back());
    } else {
      if (texts.size() != 1) throw std::invalid_argument("expected one value, not a list");
      scalar::parse(texts.front(), parsed);
    }
    if (!accepts(parsed)) scalar::out_of_range(accepted);
    value = std::move(parsed);
  };
  field.get = [&value] {
    std::vector<std::string> texts;
    if constexpr (is_list_v<T>) {
      for (const auto& element : value) texts.push_back(scalar::print(element));
    } else {
      texts.push_back(scalar::print(value));
    }
    return texts;
  };
  fields_.push_back(std::move(field));
}

}  // namespace cohort::config
