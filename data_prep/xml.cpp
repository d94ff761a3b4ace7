#include "data_prep/xml.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include <boost/property_tree/xml_parser.hpp>
#include <fmt/format.h>

namespace cohort::data_prep {
namespace {

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
void check_depth(std::string_view xml) {
  constexpr int kMost = 64;
  int depth = 0;
  for (std::size_t at = xml.find('<'); at < xml.size(); at = xml.find('<', at)) {
    if (const auto end = end_of_other(xml, at)) {
      at = std::min(*end, xml.size());
      continue;
    }
    if (xml.substr(at).starts_with("<!")) throw XmlProblem("it declares a type of document");
    const bool closes = xml.substr(at).starts_with("</");
    at = end_of_tag(xml, at);
    const bool is_empty = at < xml.size() && xml[at - 1] == '/';
    depth += closes ? -1 : (is_empty ? 0 : 1);
    if (depth > kMost) throw XmlProblem("elements are nested too deeply");
  }
}

}  // namespace

boost::property_tree::ptree parse_xml(std::string_view xml) {
  namespace parser = boost::property_tree::xml_parser;
  xml = xml.substr(0, xml.find('\0'));
  check_depth(xml);
  std::istringstream stream{std::string(xml)};
  boost::property_tree::ptree tree;
  try {
    parser::read_xml(stream, tree, parser::trim_whitespace | parser::no_comments);
  } catch (const parser::xml_parser_error& error) {
    throw XmlProblem(fmt::format("line {}: {}", error.line(), error.message()));
  }
  return tree;
}

}  // namespace cohort::data_prep
