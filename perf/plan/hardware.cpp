#include "plan/hardware.h"

#include <vector>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "hardware_table.h"

namespace cohort::perf {
namespace {

constexpr double kGiga = 1e9, kTera = 1e12, kMemoryUnit = 1 << 30, kMicro = 1e-6;
constexpr std::string_view kOwnTable = "the program's own table";

/// A number of an entry: its key in files, where it is kept, and the unit of files in ours.
struct Number {
  const char* key;
  double Processor::*value;
  double unit;
};

const std::vector<Number>& numbers() {
  static const std::vector<Number> all{{"bf16_tflops", &Processor::bf16, kTera},
                                       {"fp32_tflops", &Processor::fp32, kTera},
                                       {"memory_gib", &Processor::memory_bytes, kMemoryUnit},
                                       {"memory_gb_s", &Processor::memory, kGiga},
                                       {"link_gb_s", &Processor::link, kGiga},
                                       {"product", &Processor::product_part, 1},
                                       {"attention", &Processor::attention_part, 1},
                                       {"memory", &Processor::memory_part, 1},
                                       {"launch_us", &Processor::launch, kMicro},
                                       {"shortest_us", &Processor::shortest, kMicro}};
  return all;
}

[[noreturn]] void refuse(const std::string& what, std::string_view file, const std::string& fix) {
  throw UsageError({fmt::format("hardware: {}", what), std::string(file), fix});
}

double read_number(const YAML::Node& node, const std::string& key, std::string_view file) {
  double value = 0;
  if (!node.IsScalar() || !YAML::convert<double>::decode(node, value) || !(value >= 0))
    refuse(fmt::format("'{}' is not a number of 0 or more", key), file, "see perf/plan/hardware.yaml");
  return value;
}

void check_map(const YAML::Node& node, const std::string& name, std::string_view file) {
  if (!node.IsMap())
    refuse(fmt::format("'{}' must be a list of 'name: value'", name), file, "see perf/plan/hardware.yaml");
}

[[noreturn]] void refuse_key(const std::string& key, std::string_view file,
                             const std::vector<std::string>& known) {
  refuse(fmt::format("unknown key '{}'", key), file, did_you_mean(key, known));
}

MeasuredCollective read_collective(const YAML::Node& node, std::string_view file) {
  MeasuredCollective measured;
  check_map(node, "collectives", file);
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    if (key == "latency_us") {
      measured.latency = read_number(entry.second, key, file) * kMicro;
    } else if (key == "gb_s") {
      measured.bandwidth = read_number(entry.second, key, file) * kGiga;
    } else {
      refuse_key(key, file, {"latency_us", "gb_s"});
    }
  }
  return measured;
}

Processor read_processor(const std::string& name, const YAML::Node& node, std::string_view file) {
  check_map(node, name, file);
  Processor processor;
  processor.name = name;
  std::vector<std::string> known{"cores", "collectives"};
  for (const Number& number : numbers()) known.emplace_back(number.key);
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    bool found = false;
    for (const Number& number : numbers()) {
      if (key != number.key) continue;
      processor.*number.value = read_number(entry.second, key, file) * number.unit;
      found = true;
    }
    if (found) continue;
    if (key == "cores") {
      processor.cores = static_cast<int>(read_number(entry.second, key, file));
    } else if (key == "collectives") {
      check_map(entry.second, key, file);
      for (const auto& one : entry.second)
        processor.collectives[one.first.as<std::string>()] = read_collective(one.second, file);
    } else {
      refuse_key(key, file, known);
    }
  }
  for (const Number& number : numbers()) {
    const bool may_be_zero = number.unit == kMicro || number.value == &Processor::link;
    if (processor.*number.value == 0 && !may_be_zero)
      refuse(fmt::format("processor '{}' lacks '{}'", name, number.key), file, "add it");
  }
  return processor;
}

Network read_network(const std::string& name, const YAML::Node& node, std::string_view file) {
  check_map(node, name, file);
  Network network;
  network.name = name;
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    if (key == "gb_s") {
      network.bandwidth = read_number(entry.second, key, file) * kGiga;
    } else if (key == "adapters") {
      network.adapters = static_cast<int>(read_number(entry.second, key, file));
    } else {
      refuse_key(key, file, {"gb_s", "adapters"});
    }
  }
  if (network.bandwidth == 0) refuse(fmt::format("network '{}' lacks 'gb_s'", name), file, "add it");
  return network;
}

YAML::Node parse(const std::string& text, std::string_view file) {
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    refuse(fmt::format("this is not YAML: {}", error.msg), file,
           fmt::format("look at line {}", error.mark.line + 1));
  }
}

void read_into(Hardware& hardware, const std::string& text, std::string_view file) {
  const YAML::Node root = parse(text, file);
  check_map(root, "hardware", file);
  for (const auto& section : root) {
    const auto kind = section.first.as<std::string>();
    if (kind != "processors" && kind != "networks") refuse_key(kind, file, {"processors", "networks"});
    check_map(section.second, kind, file);
    for (const auto& entry : section.second) {
      const auto name = entry.first.as<std::string>();
      if (kind == "processors") {
        hardware.processors[name] = read_processor(name, entry.second, file);
      } else {
        hardware.networks[name] = read_network(name, entry.second, file);
      }
    }
  }
}

template <class Entry>
const Entry& find(const std::map<std::string, Entry>& entries, const std::string& name, const char* kind,
                  const char* option) {
  if (const auto found = entries.find(name); found != entries.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(entry.first);
  throw UsageError({fmt::format("unknown {} '{}'", kind, name), option, did_you_mean(name, names)});
}

}  // namespace

const Processor& Hardware::processor(const std::string& name) const {
  return find(processors, name, "processor", "--gpu");
}

const Network& Hardware::network(const std::string& name) const {
  return find(networks, name, "network", "--network");
}

Hardware read_hardware(const std::string& file) {
  Hardware hardware;
  read_into(hardware, kHardwareTable, kOwnTable);
  if (!file.empty()) read_into(hardware, read_file(file), file);
  return hardware;
}

std::string hardware_file(const Processor& processor) {
  std::string text = fmt::format("processors:\n  {}:\n", processor.name);
  for (const Number& number : numbers())
    text += fmt::format("    {}: {:.6g}\n", number.key, processor.*number.value / number.unit);
  text += fmt::format("    cores: {}\n", processor.cores);
  if (!processor.collectives.empty()) text += "    collectives:\n";
  for (const auto& [name, measured] : processor.collectives) {
    text += fmt::format("      {}: {{latency_us: {:.6g}, gb_s: {:.6g}}}\n", name, measured.latency / kMicro,
                        measured.bandwidth / kGiga);
  }
  return text;
}

}  // namespace cohort::perf
