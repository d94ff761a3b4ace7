// docs/errors.md lists the messages of the code, all of them and no others.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;
using Messages = std::set<std::string>;

std::string content(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Placeholders of fmt read as "…", like in the document.
std::string readable(const std::string& format) {
  return std::regex_replace(format, std::regex(R"(\{[^{}]*\})"), "…");
}

/// The first text of every Error({…}) and of every Damaged(…) of a source file: adjacent literals joined.
void collect(const std::string& source, Messages& messages) {
  static const std::regex kStart(
      R"((?:(Usage|Data|Numerical|Rank)Error( \w+)?\(\s*\{|Damaged( \w+)?\()\s*(fmt::format\(\s*)?(?="))");
  static const std::regex kLiteral(R"re(^\s*"((?:[^"\\]|\\.)*)")re");
  for (std::sregex_iterator at(source.begin(), source.end(), kStart), end; at != end; ++at) {
    auto from = source.begin() + at->position() + at->length();
    std::string text;
    for (std::smatch literal; std::regex_search(from, source.end(), literal, kLiteral);
         from = literal[0].second) {
      text += literal[1];
    }
    messages.insert(readable(text));
  }
}

Messages messages_of_the_code(const fs::path& root) {
  Messages messages;
  for (const char* folder : {"src", "command_line", "jobs", "data_prep", "perf"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const fs::path extension = entry.path().extension();
      if (extension == ".cpp" || extension == ".h") collect(content(entry.path()), messages);
    }
  }
  return messages;
}

Messages messages_of_the_document(const fs::path& root) {
  static const std::regex kRow(R"(\n\| `([^`]+)` \|)");
  const std::string text = content(root / "docs" / "errors.md");
  Messages messages;
  for (std::sregex_iterator at(text.begin(), text.end(), kRow), end; at != end; ++at)
    messages.insert((*at)[1]);
  return messages;
}

TEST(ErrorsDocument, ListsTheMessagesOfTheCode) {
  const fs::path root = fs::path(COHORT_TEST_DATA) / "..";
  const Messages code = messages_of_the_code(root), document = messages_of_the_document(root);

  ASSERT_GT(code.size(), 50U) << "the messages are not found in the sources";
  for (const std::string& message : code)
    EXPECT_TRUE(document.contains(message)) << "docs/errors.md lacks: " << message;
  for (const std::string& message : document)
    EXPECT_TRUE(code.contains(message)) << "no longer in the code: " << message;
}

}  // namespace
