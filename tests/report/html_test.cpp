#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/report/report.h"

#include "run_folder.h"

namespace cohort::report {
namespace {

using testing::TemporaryFolder;
using Paths = std::vector<std::filesystem::path>;

/// The first place where tags are not closed in order; empty when all are.
std::string first_imbalance(const std::string& html) {
  std::vector<std::string> open;
  for (std::size_t at = 0; (at = html.find('<', at)) != std::string::npos; ++at) {
    if (html.compare(at, 2, "<!") == 0) continue;
    const std::size_t end = html.find('>', at);
    if (end == std::string::npos || html.find('<', at + 1) < end) return html.substr(at, 80);
    const bool closes = html[at + 1] == '/';
    const std::size_t begin = at + (closes ? 2 : 1);
    const std::string name = html.substr(begin, html.find_first_of(" />\n", begin) - begin);
    if (closes && (open.empty() || open.back() != name)) return html.substr(at, 80);
    if (closes)
      open.pop_back();
    else if (html[end - 1] != '/')
      open.push_back(name);
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

std::string html_of(const TemporaryFolder& folder, const Paths& runs) {
  write_html(runs, folder.path() / "report.html");
  return read_file(folder.path() / "report.html");
}

std::string steps(int number) {
  std::string lines;
  for (int i = 0; i < number; ++i) lines += step_line(i, 1.0 / (i + 1));
  return lines;
}

TEST(TagBalance, OfTheTestItself) {
  EXPECT_EQ(first_imbalance("<!DOCTYPE html><a><b x=\"1\">t</b><c/></a>"), "");
  EXPECT_NE(first_imbalance("<a><b></a></b>"), "");
  EXPECT_NE(first_imbalance("<a><b></b>"), "");
  EXPECT_NE(first_imbalance("<a <b></b>"), "");
}

TEST(Html, ShowsScoresCurvesContextsAndConfiguration) {
  const TemporaryFolder folder;
  const std::string metrics = steps(50) + evaluation_line(20, "test", 0.7) +
                              evaluation_line(50, "test", 0.8) + evaluation_line(50, "unseen", 0.6) +
                              end_line();
  const Paths runs{
      write_run(folder, "contextvit", metrics, "seed: 1\ncontext:\n  keys: [module]  # from x\n"),
      write_run(folder, "vit", metrics, "seed: 1\ncontext:\n  keys: []\n")};

  const std::string html = html_of(folder, runs);

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_TRUE(html.starts_with("<!DOCTYPE html>"));
  EXPECT_NE(html.find("<title>contextvit · vit – Cohort report</title>"), std::string::npos);
  for (const char* text :
       {"training loss", "learning rate", "throughput", "gradient norm", "waiting for data", ">accuracy<",
        "on test", "812,345", "1 min 58 s", "majority class 67.0 %", "prefers-color-scheme: dark"}) {
    EXPECT_NE(html.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(html.find("on unseen"), std::string::npos) << "one evaluation is no curve";
  EXPECT_EQ(count(html, "<svg class=\"bars\""), 2U);
  EXPECT_EQ(count(html, "◂ worst"), 4U) << "one per run and split";
  EXPECT_EQ(count(html, "class=\"bar\""), 8U);
  EXPECT_NE(html.find("<tr><td class=\"left\">context.keys</td><td class=\"differs\">[module]</td><td "
                      "class=\"differs\">[]</td></tr>"),
            std::string::npos);
  EXPECT_EQ(html.find("<td class=\"left\">seed</td>"), std::string::npos) << "equal keys are no difference";
  EXPECT_EQ(count(html, "<details><summary>"), 2U);
  EXPECT_NE(html.find("keys: [module]  # from x"), std::string::npos);
}

TEST(Html, NeedsNothingFromElsewhere) {
  const TemporaryFolder folder;

  const std::string html =
      html_of(folder, {write_run(folder, "run", steps(3) + evaluation_line(3, "test", 0.8))});

  for (const char* text : {"http", "src=", "href=", "url(", "@import", "<script"})
    EXPECT_EQ(html.find(text), std::string::npos) << text;
}

TEST(Html, NumbersStayNumbers) {
  const TemporaryFolder folder;
  const std::string bad =
      R"({"kind":"evaluation","step":1,"split":"test","images":0,"accuracy":null,"balanced_accuracy":null,"auc":null,)"
      R"("majority":null,"contexts":[{"context":"a","images":1,"accuracy":null,"low":null,"high":null}]})"
      "\n";

  const std::string html = html_of(
      folder, {write_run(folder, "run",
                         "{\"kind\":\"step\",\"step\":0,\"loss\":1e308}\n" + step_line(1, -1e308) + bad)});

  EXPECT_EQ(first_imbalance(html), "");
  for (const char* text : {"\"nan", "\"inf", " nan", " inf", "-nan", "-inf"})
    EXPECT_EQ(html.find(text), std::string::npos) << text;
}

TEST(Html, ARunWithoutStepsHasAPage) {
  const TemporaryFolder folder;

  const std::string html = html_of(folder, {write_run(folder, "run", "")});

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_NE(html.find("going on, or stopped before its end"), std::string::npos);
  EXPECT_EQ(html.find("<svg"), std::string::npos);
}

TEST(Html, EscapesNames) {
  const TemporaryFolder folder;
  const std::string evil = "<script>alert(1)<b>";
  const std::string metrics = "{\"kind\":\"step\",\"step\":0,\"<script>\":1}\n" +
                              evaluation_line(1, "<script>\\\"", 0.5) +
                              evaluation_line(2, "<script>\\\"", 0.6);

  const std::string html = html_of(folder, {write_run(folder, evil, metrics, "a: \"<script>&\"\n")});

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;alert(1)&lt;b&gt;"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;&quot;"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;&amp;"), std::string::npos);
}

TEST(Html, ManyContextsAreCutToTheLowest) {
  const TemporaryFolder folder;
  std::string contexts;
  for (int i = 0; i < 150; ++i) {
    contexts += fmt::format(R"({}{{"context":"site_{}","images":9,"accuracy":{},"low":0.1,"high":0.9}})",
                            i == 0 ? "" : ",", i, 1.0 - i / 200.0);
  }
  const std::string metrics =
      R"({"kind":"evaluation","step":1,"split":"test","context_key":"site","images":9,"accuracy":0.5,)"
      R"("balanced_accuracy":0.5,"majority":0.5,"contexts":[)" +
      contexts + "]}\n";

  const std::string html = html_of(folder, {write_run(folder, "run", metrics)});

  EXPECT_EQ(count(html, "class=\"bar\""), 100U);
  EXPECT_NE(html.find("50 contexts of higher accuracy are not shown"), std::string::npos);
  EXPECT_LT(html.find(">site_149<"), html.find(">site_148<")) << "the lowest accuracy comes first";
  EXPECT_EQ(html.find(">site_49<"), std::string::npos);
}

TEST(Html, AMissingFolderIsADataError) {
  const TemporaryFolder folder;

  EXPECT_THROW(write_html(Paths{folder.path() / "none"}, folder.path() / "report.html"), DataError);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "report.html"));
}

}  // namespace
}  // namespace cohort::report
