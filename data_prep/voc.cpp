#include "data_prep/voc.h"

#include <charconv>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/printable.h"

#include "data_prep/xml.h"

namespace cohort::data_prep {
namespace {

using Tree = boost::property_tree::ptree;

[[noreturn]] void refuse_voc(const std::string& what, const std::string& where) {
  throw DataError({"the annotation cannot be read: " + what, where,
                   "repair it, or leave its image out with --on-error skip"});
}

Tree parse_tree(const std::string& xml, const std::string& where) {
  try {
    return parse_xml(xml);
  } catch (const XmlProblem& problem) {
    refuse_voc(problem.what(), where);
  }
}

double voc_number(const Tree& tree, const char* path, const std::string& where) {
  const auto text = tree.get_optional<std::string>(path);
  if (!text) refuse_voc(fmt::format("it has no '{}'", path), where);
  double value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc() && end == text->data() + text->size()) return value;
  refuse_voc(fmt::format("'{}' is '{}', which is no number", path, printable(*text)), where);
}

std::int64_t voc_side(const Tree& tree, const char* path, const std::string& where) {
  constexpr double kMostSide = 1 << 20;
  const double value = voc_number(tree, path, where);
  if (value >= 1 && value <= kMostSide) return static_cast<std::int64_t>(value);
  refuse_voc(fmt::format("'{}' is {}, which is no size of an image", path, value), where);
}

VocObject object_of(const Tree& tree, const std::string& where) {
  VocObject object{tree.get<std::string>("name", "")};
  if (object.name.empty()) refuse_voc("an object has no 'name'", where);
  const auto corner = [&](const char* path) { return voc_number(tree, path, where); };
  object.box = {corner("bndbox.xmin") - 1, corner("bndbox.ymin") - 1, corner("bndbox.xmax"),
                corner("bndbox.ymax")};
  object.is_difficult = tree.get<std::string>("difficult", "0") == "1";
  return object;
}

void add_facts(const Tree& tree, const std::string& path, std::map<std::string, std::string>& facts) {
  for (const auto& [name, child] : tree) {
    if (name == "object" || name == "<xmlattr>") continue;
    const std::string below = path.empty() ? name : path + "." + name;
    if (child.empty())
      facts[below] = child.data();
    else
      add_facts(child, below, facts);
  }
}

}  // namespace

VocAnnotation parse_voc(const std::string& xml, const std::string& where) {
  const Tree tree = parse_tree(xml, where);
  const auto root = tree.get_child_optional("annotation");
  if (!root) refuse_voc("it has no element 'annotation'", where);
  VocAnnotation annotation{voc_side(*root, "size.height", where), voc_side(*root, "size.width", where)};
  for (const auto& [name, child] : *root) {
    if (name == "object") annotation.objects.push_back(object_of(child, where));
  }
  add_facts(*root, "", annotation.facts);
  return annotation;
}

}  // namespace cohort::data_prep
