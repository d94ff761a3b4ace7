#include "cohort/config/load.h"

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

namespace cohort::config {
namespace {

using Texts = std::vector<std::string>;

std::string shown(const std::string& text) {
  constexpr std::size_t kMost = 60;
  return text.size() <= kMost ? text : text.substr(0, kMost) + "…";
}

std::string yaml_example(const Field& field, const Texts& values) {
  return field.is_list ? fmt::format("[{}]", join(values, ", ")) : join(values, ", ");
}

std::string how_to_fix(const Field& field, const Texts& values) {
  if (!field.names.empty() && values.size() == 1) return did_you_mean(values.front(), field.names);
  if (!field.accepted.empty()) return fmt::format("accepted: {}", field.accepted);
  return fmt::format("for example {}: {}", field.key, yaml_example(field, field.get()));
}

void assign(Field& field, const Texts& values, const std::string& where) {
  try {
    field.set(values);
    field.origin = where;
  } catch (const std::invalid_argument& error) {
    std::string expected = error.what();
    if (expected.starts_with("expected ")) expected.erase(0, std::string_view("expected ").size());
    const std::string given = yaml_example(field, values);
    throw UsageError({fmt::format("{} must be {}, not '{}'", field.key, expected, shown(given)), where,
                      how_to_fix(field, values)});
  }
}

const Fields::Section* find_section(const Fields& fields, std::string_view key) {
  const auto sections = fields.sections();
  const auto found =
      std::find_if(sections.begin(), sections.end(), [&](const auto& s) { return s.key == key; });
  return found == sections.end() ? nullptr : &*found;
}

UsageError unknown_key(const Fields& fields, const std::string& key, const std::string& where) {
  Texts known = fields.keys();
  for (const auto& section : fields.sections()) known.push_back(section.key);
  return UsageError({fmt::format("unknown key '{}'", shown(key)), where, did_you_mean(key, known)});
}

UsageError section_without_options(const Fields& fields, const std::string& key, const std::string& where) {
  const Texts keys = fields.keys();
  const auto inside = [&](const std::string& k) { return k.starts_with(key + "."); };
  const auto first = std::find_if(keys.begin(), keys.end(), inside);
  const std::string example = first == keys.end() ? key : *first;
  return UsageError({fmt::format("'{}' is a section, not an option", key), where,
                     fmt::format("set the options in it, for example {}", example)});
}

/// Where a YAML document begins.
struct DocumentStart final : YAML::EventHandler {
  YAML::Mark mark;

  void OnDocumentStart(const YAML::Mark& start) override { mark = start; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
  }
  void OnMapEnd() override {}
};

/// One file of a composition; reads its defaults first.
class FileReader {
 public:
  FileReader(const std::filesystem::path& file, Fields& fields, FileReader* reader_of_parent = nullptr)
      : file_(file), fields_(fields), parent_(reader_of_parent) {}

  void read() {
    const std::optional<YAML::Node> root = parse();
    if (!root || root->IsNull()) return;
    if (!root->IsMap()) {
      throw UsageError({"a configuration consists of lines 'key: value'", place(root->Mark()),
                        "see --help config for the keys"});
    }
    for (const auto& entry : *root) {
      if (is_defaults(entry.first)) read_defaults(entry.first, entry.second);
    }
    read_map(*root, "");
  }

 private:
  [[nodiscard]] std::string place(const YAML::Mark& mark) const {
    return mark.is_null() ? file_.string() : fmt::format("{}:{}", file_.string(), mark.line + 1);
  }

  [[nodiscard]] std::optional<YAML::Node> parse() const {
    try {
      const std::string text = read_file(file_, kMostSettings);
      refuse_several_documents(text);
      const YAML::Node root = YAML::Load(text);
      return root.IsDefined() ? std::optional(root) : std::nullopt;
    } catch (const DataError& error) {
      throw UsageError(error.text());
    } catch (const YAML::Exception& error) {
      throw UsageError({fmt::format("this is not YAML: {}", error.msg), place(error.mark),
                        "check indentation, quotes and brackets there and in the line above"});
    }
  }

  /// YAML::Load drops all documents but the first; YAML::LoadAll never ends on text that starts with ',' or
  /// ']'.
  void refuse_several_documents(const std::string& text) const {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    DocumentStart first, second;
    if (!parser.HandleNextDocument(first) || !parser.HandleNextDocument(second)) return;
    if (second.mark.pos == first.mark.pos) throw YAML::ParserException(first.mark, "unexpected character");
    throw UsageError(
        {"the file holds several YAML documents", place(second.mark), "remove the lines '---' between them"});
  }

  static bool is_defaults(const YAML::Node& key) { return key.IsScalar() && key.Scalar() == "defaults"; }

  void read_defaults(const YAML::Node& key, const YAML::Node& value) {
    note_once("defaults", key.Mark());
    const YAML::Node names = value.IsScalar() ? YAML::Node(Texts{value.Scalar()}) : value;
    const bool is_list = names.IsSequence() && std::all_of(names.begin(), names.end(),
                                                           [](const YAML::Node& n) { return n.IsScalar(); });
    if (!is_list) {
      throw UsageError(
          {"'defaults' must be a list of files", place(key.Mark()), "for example defaults: [../base.yaml]"});
    }
    for (const YAML::Node& name : names) {
      const std::filesystem::path file = (file_.parent_path() / name.Scalar()).lexically_normal();
      count_file(place(key.Mark()));
      FileReader reader(file, fields_, this);
      reader.refuse_cycle(place(key.Mark()));
      reader.refuse_missing(place(key.Mark()));
      reader.read();
    }
  }

  /// Files that name others twice, which name others twice …, would never end.
  void count_file(const std::string& where) {
    constexpr int kMost = 1000;
    FileReader* first = this;
    while (first->parent_ != nullptr) first = first->parent_;
    if (++first->files_ > kMost)
      throw UsageError({fmt::format("the defaults read more than {} files", kMost), where,
                        "name each file once: one that several others name is read several times"});
  }

  void refuse_cycle(const std::string& where) const {
    std::string chain = file_.string();
    for (const FileReader* reader = parent_; reader != nullptr; reader = reader->parent_) {
      chain.insert(0, reader->file_.string() + " → ");
      std::error_code ignored;
      const bool same = reader->file_ == file_ || std::filesystem::equivalent(reader->file_, file_, ignored);
      if (same)
        throw UsageError({"the defaults form a cycle: " + chain, where,
                          "remove one of these files from a 'defaults' list"});
    }
  }

  void refuse_missing(const std::string& where) const {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(file_, ignored)) return;
    throw UsageError({fmt::format("'defaults' names a file that does not exist: {}", file_.string()), where,
                      "names are relative to the file that they stand in"});
  }

  void note_once(const std::string& key, const YAML::Mark& mark) {
    const auto [earlier, is_new] = lines_.emplace(key, mark.line + 1);
    if (is_new) return;
    throw UsageError({fmt::format("'{}' is given twice", key),
                      fmt::format("{} and line {}", place(mark), earlier->second), "keep one of the two"});
  }

  void read_map(const YAML::Node& map, const std::string& prefix) {
    for (const auto& entry : map) {
      const YAML::Node& name = entry.first;
      if (!name.IsScalar()) {
        throw UsageError({"a key must be text", place(name.Mark()),
                          "write 'key: value'; quote keys and values with brackets"});
      }
      if (prefix.empty() && is_defaults(name)) continue;
      read_entry(prefix + name.Scalar(), entry.second, name.Mark());
    }
  }

  void read_entry(const std::string& key, const YAML::Node& value, const YAML::Mark& mark) {
    if (Field* field = fields_.find(key)) {
      note_once(key, mark);
      return read_value(*field, value, place(mark));
    }
    if (find_section(fields_, key) == nullptr) throw unknown_key(fields_, key, place(mark));
    note_once(key, mark);
    if (value.IsNull()) return;
    if (!value.IsMap()) throw section_without_options(fields_, key, place(mark));
    read_map(value, key + ".");
  }

  void read_value(Field& field, const YAML::Node& value, const std::string& where) const {
    if (value.IsNull()) {
      throw UsageError(
          {fmt::format("{} has no value", field.key), where,
           fmt::format("write a value, or remove the line to use {}", yaml_example(field, field.get()))});
    }
    if (value.IsMap()) {
      throw UsageError({fmt::format("{} is an option ({}), not a section", field.key, field.type), where,
                        fmt::format("for example {}: {}", field.key, yaml_example(field, field.get()))});
    }
    if (field.is_list && !value.IsSequence()) {
      throw UsageError(
          {fmt::format("{} must be a {}, not '{}'", field.key, field.type, shown(value.Scalar())), where,
           fmt::format("write [{}]", shown(value.Scalar()))});
    }
    assign(field, texts_of(field, value, where), where);
  }

  static Texts texts_of(const Field& field, const YAML::Node& value, const std::string& where) {
    if (value.IsScalar()) return {value.Scalar()};
    if (!field.is_list) {
      throw UsageError(
          {fmt::format("{} must be one value, not a list", field.key), where, "remove the brackets"});
    }
    Texts texts;
    for (const YAML::Node& element : value) {
      if (!element.IsScalar()) {
        throw UsageError(
            {fmt::format("an element of {} is not a single value", field.key), where,
             fmt::format("{} is a {}; quote text with special characters", field.key, field.type)});
      }
      texts.push_back(element.Scalar());
    }
    return texts;
  }

  std::filesystem::path file_;
  Fields& fields_;
  FileReader* parent_;
  int files_ = 0;                     // read for the first of all readers
  std::map<std::string, int> lines_;  // of the keys read so far
};

constexpr const char* kCommandLine = "command line";

UsageError bad_list(const Field& field, const std::string& text) {
  return UsageError({fmt::format("{} must be a {}, not '{}'", field.key, field.type, shown(text)),
                     kCommandLine,
                     fmt::format("write {0}=[x,y] or {0}=x,y; an empty list is {0}=[]", field.key)});
}

Texts bracketed_list(const Field& field, const std::string& text) {
  try {
    const YAML::Node list = YAML::Load(text);
    Texts elements;
    for (const YAML::Node& element : list) {
      if (!element.IsScalar()) throw bad_list(field, text);
      elements.push_back(element.Scalar());
    }
    return elements;
  } catch (const YAML::Exception&) {
    throw bad_list(field, text);
  }
}

Texts plain_list(const Field& field, const std::string& text) {
  Texts elements;
  for (std::size_t begin = 0, comma = 0; comma != std::string::npos; begin = comma + 1) {
    comma = text.find(',', begin);
    const std::string element = text.substr(begin, comma == std::string::npos ? comma : comma - begin);
    if (element.find_first_not_of(' ') == std::string::npos) throw bad_list(field, text);
    const std::size_t first = element.find_first_not_of(' ');
    elements.push_back(element.substr(first, element.find_last_not_of(' ') - first + 1));
  }
  return elements;
}

Texts split_value(const Field& field, const std::string& text) {
  if (!field.is_list) return {text};
  const bool bracketed = text.size() >= 2 && text.front() == '[' && text.back() == ']';
  return bracketed ? bracketed_list(field, text) : plain_list(field, text);
}

UsageError no_assignment(Fields& fields, const std::string& text) {
  const Field* field = fields.find(text);
  if (field == nullptr && !fields.list().empty()) field = &fields.list().front();
  const std::string example =
      field == nullptr ? "key=value" : fmt::format("{}={}", field->key, yaml_example(*field, field->get()));
  return UsageError({fmt::format("an override must read key=value, not '{}'", shown(text)), kCommandLine,
                     fmt::format("for example {}", example)});
}

}  // namespace

void load(const std::filesystem::path& file, Fields& fields) {
  FileReader(file, fields).read();
}

void override_with(std::span<const std::string> assignments, Fields& fields) {
  for (const std::string& assignment : assignments) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) throw no_assignment(fields, assignment);
    const std::string key = assignment.substr(0, equals);
    Field* field = fields.find(key);
    if (field == nullptr && find_section(fields, key) != nullptr)
      throw section_without_options(fields, key, kCommandLine);
    if (field == nullptr) throw unknown_key(fields, key, kCommandLine);
    assign(*field, split_value(*field, assignment.substr(equals + 1)), kCommandLine);
  }
}

}  // namespace cohort::config
