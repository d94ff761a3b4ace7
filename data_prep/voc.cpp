#include "data_prep/voc.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include <boost/property_tree/ptree.hpp>
#include <boost/property_tree/xml_parser.hpp>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/printable.h"

namespace cohort::data_prep {
namespace {

using Tree = boost::property_tree::ptree;

[[noreturn]] void refuse_voc(const std::string& what, const std::string& where) {
  throw DataError({"the annotation cannot be read: " + what, where,
                   "repair it, or leave its image out with --on-error skip"});
}

/// Where the tag that begins at `at` ends: behind its name and attributes, whose values may hold anything.
std::size_t end_of_tag(std::string_view xml, std::size_t at) {
  if (xml.substr(at).starts_with("</")) return std::min(xml.find('>', at), xml.size());
  at = xml.find_first_of(" \t\r\n/>", at);
  while (at < xml.size() && xml[at] != '>') {
    if (xml[at] == '=') {
      at = xml.find_first_of("\"'", at);
      if (at < xml.size()) at = xml.find(xml[at], at + 1);
    }
    at = at < xml.size() ? at + 1 : xml.size();
  }
  return std::min(at, xml.size());
}

/// What begins with `begin` and ends with `end` is no element. Nothing where it never ends.
std::optional<std::size_t> end_of_other(std::string_view xml, std::size_t at) {
  for (const auto& [begin, end] :
       {std::pair<std::string_view, std::string_view>{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}}) {
    if (xml.substr(at).starts_with(begin)) return xml.find(end, at + begin.size());
  }
  return std::nullopt;
}

/// The library reads elements within elements by recursion: of a file of others it is asked first how deep
/// they are. Document types are refused.
void check_depth(std::string_view xml, const std::string& where) {
  constexpr int kMost = 64;
  int depth = 0;
  for (std::size_t at = xml.find('<'); at < xml.size(); at = xml.find('<', at)) {
    if (const auto end = end_of_other(xml, at)) {
      at = std::min(*end, xml.size());
      continue;
    }
    if (xml.substr(at).starts_with("<!")) refuse_voc("it declares a type of document", where);
    const bool closes = xml.substr(at).starts_with("</");
    at = end_of_tag(xml, at);
    const bool is_empty = at < xml.size() && xml[at - 1] == '/';
    depth += closes ? -1 : (is_empty ? 0 : 1);
    if (depth > kMost) refuse_voc("elements are nested too deeply", where);
  }
}

Tree parse_tree(const std::string& xml, const std::string& where) {
  namespace parser = boost::property_tree::xml_parser;
  check_depth(xml, where);
  std::istringstream stream(xml);
  Tree tree;
  try {
    parser::read_xml(stream, tree, parser::trim_whitespace | parser::no_comments);
  } catch (const parser::xml_parser_error& error) {
    refuse_voc(fmt::format("line {}: {}", error.line(), error.message()), where);
  }
  return tree;
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
