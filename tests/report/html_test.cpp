#include <cmath>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/report/report.h"

#include "page.h"
#include "run_folder.h"

namespace cohort::report {
namespace {

using testing::TemporaryFolder;

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
       {"training loss", "learning rate", "throughput", "gradient norm", "waiting for data",
        ">accuracy&#160;↑<", ">AUC&#160;↑<", ">loss&#160;↓<", "on test", "812,345", "1 min 58 s",
        "majority class 67.0 %", "prefers-color-scheme: dark"}) {
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

TEST(Html, TimesOfTheLoaderHaveTitles) {
  const TemporaryFolder folder;
  std::string metrics;
  for (int step = 0; step < 3; ++step) {
    std::string line = step_line(step, 0.7);
    metrics += line.insert(line.rfind('}'), R"(,"read_seconds":0.01,"view_seconds":0.02)");
  }

  const std::string html = html_of(folder, {write_run(folder, "run", metrics)});

  for (const char* title : {">reading<", ">making views<"})
    EXPECT_NE(html.find(title), std::string::npos) << title;
  EXPECT_EQ(html.find("_seconds"), std::string::npos);
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
  EXPECT_NE(html.find("50 better contexts are not shown"), std::string::npos);
  EXPECT_LT(html.find(">site_149<"), html.find(">site_148<")) << "the lowest accuracy comes first";
  EXPECT_EQ(html.find(">site_49<"), std::string::npos);
}

/// A line with everything that a scorecard may hold; `of` curves of each kind.
std::string scorecard_line(int step, const std::string& task, int of, int contexts) {
  const auto score = [](const char* name, double value, const char* better) {
    return fmt::format(R"({{"name":"{}","value":{:.4f},"low":{:.4f},"high":{:.4f},"better":"{}"}})", name,
                       value, value / 2, (1 + value) / 2, better);
  };
  const auto scores = [&](double value) {
    return "[" + score("iou", value, "higher") + "," + score("boundary_f", value / 2, "higher") + "," +
           score("surface_distance", 40 - value, "lower").insert(1, R"("unit":"pixels",)") + "," +
           score("dice", value, "higher") + "]";
  };
  const auto groups = [&](const std::string& name, int count) {
    std::string list;
    for (int i = 0; i < count; ++i)
      list += fmt::format(R"({}{{"name":"{}_{}","samples":{},"scores":{}}})", i == 0 ? "" : ",", name, i,
                          i + 1, scores(0.1 + 0.8 * i / count));
    return "[" + list + "]";
  };
  std::string curves;
  for (const char* kind : {"roc", "precision_recall", "reliability", "reliability_histogram", "froc"}) {
    for (int c = 0; c < of; ++c) {
      std::string points;
      for (int i = 0; i <= 150; ++i)
        points += fmt::format("{}[{:.4f},{:.4f}]", i == 0 ? "" : ",", i / 150.0, std::sqrt(i / 150.0));
      curves +=
          fmt::format(R"({}{{"kind":"{}","of":"{}","x":"x axis","y":"y axis","points":[{}]}})",
                      curves.empty() ? "" : ",", kind, of == 1 ? "" : fmt::format("kind {}", c), points);
    }
  }
  return fmt::format(
             R"({{"kind":"evaluation","step":{},"epoch":1,"task":"{}","split":"test","label":"m","images":1650,"context_key":"site",)"
             R"("scores":{},"contexts_by":[{{"key":"site","contexts":{}}},{{"key":"year","contexts":{}}}],"class_scores":{},)"
             R"("curves":[{}],"cases":[{{"row":1234,"score":0.998,"what":"<benign>, said to be malignant"}}]}})",
             step, task, scores(0.75), groups("site", contexts), groups("year", contexts),
             groups("class", of), curves) +
         "\n";
}

TEST(Html, DrawsWhatScorecardsHold) {
  const TemporaryFolder folder;
  const std::string early = scorecard_line(10, "segmentation", 1, 3),
                    late = scorecard_line(20, "segmentation", 1, 3);

  const std::string html =
      html_of(folder, {write_run(folder, "a", early + late), write_run(folder, "b", late)});

  EXPECT_EQ(first_imbalance(html), "");
  for (const char* text :
       {"<h3>segmentation</h3>", "<th>IoU&#160;↑</th>", "<th>boundary F&#160;↑</th>",
        "<th>surface distance&#160;↓, pixels</th>", "<th>worst context&#160;↑</th>",
        "<td class=\"best\">0.750*<small>0.375 … 0.875</small></td>", "<td class=\"best\">site_0 0.100*",
        "by site", "by year", ">class_0<", "<td class=\"best\">39.25*<small>19.62 … 20.12</small></td>",
        "&lt;benign&gt;, said to be malignant", ">ROC<", ">precision and recall<", ">reliability histogram<",
        ">fROC<", "class=\"bar c0\""})
    EXPECT_NE(html.find(text), std::string::npos) << text;
  EXPECT_EQ(html.find("majority"), html.find("svg .majority") + 5) << "of classification alone";
  EXPECT_EQ(count(html, "<svg class=\"plot\""), 5U) << "both runs in each chart";
  EXPECT_EQ(count(html, "<svg class=\"chart\""), 3U) << "the first scores, of the run that has several";
  for (const char* text : {"\"nan", "\"inf", " nan", " inf", "-nan", "-inf"})
    EXPECT_EQ(html.find(text), std::string::npos) << text;
}

TEST(Html, ManyClassesAreSmallMultiplesOfEight) {
  const TemporaryFolder folder;

  const std::string html = html_of(folder, {write_run(folder, "a", scorecard_line(20, "multilabel", 11, 1))});

  EXPECT_EQ(count(html, "<svg class=\"plot\""), 5U * 2U);
  EXPECT_NE(html.find("kind 10</span>"), std::string::npos);
  EXPECT_EQ(first_imbalance(html), "");
}

TEST(Html, EachTaskHasItsOwnTable) {
  const TemporaryFolder folder;

  const std::string html = html_of(folder, {write_run(folder, "a", scorecard_line(20, "segmentation", 1, 1)),
                                            write_run(folder, "b", evaluation_line(20, "test", 0.75))});

  EXPECT_NE(html.find("<h3>segmentation</h3>"), std::string::npos);
  EXPECT_NE(html.find("<h3>classification</h3>"), std::string::npos);
  EXPECT_EQ(html.find("* best"), html.rfind("* best")) << "runs of different tasks are not compared";
  EXPECT_EQ(count(html, "class=\"best\""), 0U);
}

TEST(Html, APageOfManyRunsContextsAndClassesStaysBelowFiveMegabytes) {
  const TemporaryFolder folder;
  Paths runs;
  for (int run = 0; run < 4; ++run) {
    std::string metrics = steps(20'000);
    for (int step = 1; step <= 1000; ++step) metrics += evaluation_line(step, "valid", 0.5 + step / 4000.0);
    for (const char* task : {"segmentation", "multilabel", "detection"})
      metrics += scorecard_line(1000, task, 60, 300);
    runs.push_back(write_run(folder, fmt::format("run {}", run), metrics));
  }

  EXPECT_LT(html_of(folder, runs).size(), 5'000'000U);
}

TEST(Html, EvaluationsAreNeverSmoothedAndAlwaysPoints) {
  const TemporaryFolder folder;
  std::string metrics;
  for (int step = 1; step <= 100; ++step)
    metrics += evaluation_line(step, "test", step % 2 == 0 ? 0.9 : 0.5) +
               fmt::format(R"({{"kind":"features","step":{},"epoch":1,"deviation":{}}})"
                           "\n",
                           step, step % 2);

  const std::string html = html_of(folder, {write_run(folder, "run", metrics)});

  EXPECT_EQ(count(html, "<path class=\"points c0\""), 4U) << "three scores and the deviation of features";
  EXPECT_EQ(html.find("faint\" points"), std::string::npos);
}

TEST(Html, AMissingFolderIsADataError) {
  const TemporaryFolder folder;

  EXPECT_THROW(write_html(Paths{folder.path() / "none"}, folder.path() / "report.html"), DataError);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "report.html"));
}

TEST(Html, ShowsWhereARunWasStarted) {
  const TemporaryFolder folder;
  const auto start = [](const char* time, int ranks) {
    return fmt::format(
        R"({{"kind":"start","step":0,"time":"{}","version":"0.1.0","ranks":{},"hosts":1,"threads":1,)"
        R"("device":"cpu","precision":"bf16","sharding":"full","processor":"EPYC <3>"}})"
        "\n",
        time, ranks);
  };

  const std::string html =
      html_of(folder, {write_run(folder, "run", start("t1", 2) + step_line(1, 0.5) + start("t2", 4))});

  EXPECT_EQ(first_imbalance(html), "");
  for (const char* text : {"<dd>t2</dd>", "<dt>starts</dt><dd>2</dd>", "4 ranks × 1 thread, 1 host",
                           "EPYC &lt;3&gt;", "bf16, full"})
    EXPECT_NE(html.find(text), std::string::npos) << text;
}

TEST(Html, ListsBadStepsOnceEach) {
  const TemporaryFolder folder;
  const auto trouble = [](int step, const char* action) {
    return fmt::format(
        R"({{"kind":"trouble","step":{},"epoch":0,"what":"step {}: the loss is not <finite>","cause":"image 'x'","action":"{}"}})"
        "\n",
        step, step, action);
  };
  const std::string lines =
      step_line(1, 0.5) + trouble(2, "skip") + trouble(3, "skip") + trouble(2, "rollback");

  const std::string html = html_of(folder, {write_run(folder, "run", lines)});

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_NE(html.find("<dt>bad steps</dt><dd>1</dd>"), std::string::npos);
  EXPECT_NE(html.find("step 2: the loss is not &lt;finite&gt;</td><td class=\"left\">image &#39;x&#39;</td>"
                      "<td class=\"left\">rollback"),
            std::string::npos);
  EXPECT_EQ(html.find("step 3:"), std::string::npos);
}

TEST(Html, ShowsWhatWasTakenForWhat) {
  const TemporaryFolder folder;
  std::string few = evaluation_line(1, "test", 0.7), many = few;
  few.insert(1, R"("confusion":[[30,10],[5,1200]],"accuracy_interval":[0.61,0.805],)");
  std::string rows, names;
  for (int label = 0; label < 20; ++label) {
    rows += label == 0 ? "[" : ",[";
    for (int answer = 0; answer < 20; ++answer)
      rows += fmt::format("{}{}", answer == 0 ? "" : ",",
                          label == answer             ? 90
                          : label * 20 + answer == 45 ? 10
                                                      : 0);
    rows += "]";
    names += fmt::format("{}\"class {}\"", label == 0 ? "" : ",", label);
  }
  const std::string classes = R"("classes":["no","yes"],)";
  many.replace(many.find(classes), classes.size(),
               fmt::format("\"classes\":[{}],\"confusion\":[{}],", names, rows));

  const std::string html = html_of(folder, {write_run(folder, "few", few), write_run(folder, "many", many)});

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_NE(html.find("<td class=\"wrong\" style=\"--part:0.250\">10<small>25.0 %</small></td>"),
            std::string::npos);
  EXPECT_NE(html.find("1,200<small>99.6 %</small>"), std::string::npos);
  EXPECT_NE(html.find("<small>61.0 … 80.5</small>"), std::string::npos);
  EXPECT_NE(
      html.find("<td class=\"left\">class 2</td><td class=\"left\">class 5</td><td>10</td><td>10.0 %</td>"),
      std::string::npos);
}

TEST(Html, TheBusiestRankComesFirst) {
  const TemporaryFolder folder;
  const std::string columns =
      R"("busy":[0.1,0.2],"waiting":[0.1,0],"data":[0,0.1],"forward":[0.1,0.1],"backward":[0,0],"optimizer":[0,0],"other":[0,0]})";
  const Paths runs{write_run(folder, "run",
                             step_line(100, 0.5) +
                                 R"({"kind":"ranks","step":100,"steps":99,"hosts":["n1","n<2"],)" + columns +
                                 "\n")};

  const std::string html = html_of(folder, runs);

  const auto slow = html.find("<td>1</td><td class=\"left\">n&lt;2</td><td>200.0</td><td>100.0</td>"),
             fast = html.find("<td>0</td><td class=\"left\">n1</td><td>100.0</td>");
  ASSERT_NE(slow, std::string::npos) << html;
  EXPECT_LT(slow, fast);
  EXPECT_EQ(first_imbalance(html), "");
}

}  // namespace
}  // namespace cohort::report
