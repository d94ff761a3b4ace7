#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

#include <boost/property_tree/ptree.hpp>

namespace cohort::data_prep {

/// Why XML is not read.
struct XmlProblem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Elements of XML, up to its first zero byte, without comments and blanks around texts; attributes are in
/// "<xmlattr>". Elements more than 64 deep and document types are refused: files of others may hold anything.
/// Throws XmlProblem.
boost::property_tree::ptree parse_xml(std::string_view xml);

}  // namespace cohort::data_prep
