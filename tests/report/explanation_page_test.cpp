// Pictures that a run's folder holds, on its page.
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "page.h"
#include "report/explanation.h"
#include "run_folder.h"

namespace cohort::report {
namespace {

using testing::TemporaryFolder;

const std::string kPng = "\x89PNG\r\n\x1a\n";

/// As cohort explain writes it.
void write_explanation(const TemporaryFolder& folder, const std::string& maps) {
  folder.write("run/explain/maps_01.png", kPng + "maps");
  folder.write("run/explain/nearest_01.png", kPng + "nearest");
  folder.write("run/explain/explain.json",
               fmt::format(R"({{"split":"test","step":3,"columns":["image","rollout"],)"
                           R"("images":[{{"id":"<a>","contexts":{{"module":"m1"}},"label":"yes","maps":"{}",)"
                           R"("answer":"no","probability":0.875,"nearest_pictures":"nearest_01.png",)"
                           R"("nearest":[{{"id":"b","contexts":{{}},"label":"","similarity":0.5}}]}}],)"
                           R"("context_tokens":[{{"key":"module","shares":[0.5,0.25],)"
                           R"("points":[{{"split":"test","context":"m1","images":3,"x":1.0,"y":-2.0}}]}}]}})",
                           maps));
}

TEST(Html, ShowsWhatTheModelLooksAt) {
  const TemporaryFolder folder;
  const Paths runs{write_run(folder, "run", step_line(1, 0.5))};
  write_explanation(folder, "maps_01.png");
  folder.write("run/views.png", kPng + "views");

  const std::string html = html_of(folder, runs);

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_NE(html.find("&lt;a&gt; · module m1 · yes, answered no (0.88)"), std::string::npos);
  EXPECT_NE(html.find("src=\"data:image/png;base64,iVBORw0KGgptYXBz\""), std::string::npos);
  EXPECT_NE(html.find("src=\"data:image/png;base64,iVBORw0KGgpuZWFyZXN0\""), std::string::npos);
  EXPECT_NE(html.find("base64,iVBORw0KGgp2aWV3cw=="), std::string::npos);
  EXPECT_NE(html.find("<li>b · similarity 0.5000</li>"), std::string::npos);
  EXPECT_NE(html.find("<title>m1, test</title>"), std::string::npos);
  EXPECT_NE(html.find("second component, 25.0 %"), std::string::npos);
}

TEST(Html, ShowsWhatMapsAreWorth) {
  const TemporaryFolder folder;
  const Paths runs{write_run(folder, "run", step_line(1, 0.5))};
  for (const char* name : {"maps", "sheet", "channels", "saliency"})
    folder.write(fmt::format("run/explain/{}.png", name), kPng + name);
  const auto method = [](const char* name, const char* adcc, double drop) {
    return fmt::format(
        R"({{"method":"{}","images":1200,"scores":[{{"name":"adcc","value":{},"better":"higher",)"
        R"("interval":[0.5,0.875]}},)"
        R"({{"name":"average_drop","value":{},"better":"lower"}}],"contexts_by":[{{"key":"module",)"
        R"("contexts":[{{"name":"m<1>","samples":3,"scores":[{{"name":"adcc","value":0.5,)"
        R"("better":"higher"}}]}}]}}],"classes":[{{"name":"no","samples":7,"scores":[{{"name":"adcc",)"
        R"("value":0.25,"better":"higher"}}]}}],"curves":[{{"kind":"deletion","of":"","x":"gone",)"
        R"("y":"probability","points":[[0,0.9],[1,0.1]]}}]}})",
        name, adcc, drop);
  };
  folder.write(
      "run/explain/explain.json",
      fmt::format(R"({{"split":"test","columns":["image"],"images":[{{"id":"a","contexts":{{}},)"
                  R"("label":"yes","maps":"maps.png","sheet":"sheet.png","answer":"no",)"
                  R"("probability":0.875,"map_of":{{"class":"yes","probability":0.125}},)"
                  R"("map_is_constant":true,"channels":{{"names":["DNA","actin"],"attention":"channels.png",)"
                  R"("saliency":"saliency.png"}}}}],"scores":[{},{}]}})",
                  method("reciprocam", "0.75", 0.25), method("rollout", "null", 0.5)));

  const std::string html = html_of(folder, runs);

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_NE(html.find("<td class=\"left\">reciprocam</td><td>1,200</td><td class=\"best\">0.7500"
                      "<small>0.500 … 0.875</small></td><td class=\"best\">0.2500</td>"),
            std::string::npos);
  EXPECT_NE(html.find("<td class=\"left\">rollout</td><td>1,200</td><td>–<small>0.500 … "
                      "0.875</small></td><td>0.5000</td>"),
            std::string::npos);
  EXPECT_NE(html.find("average drop<small>lower is better</small>"), std::string::npos);
  EXPECT_NE(html.find("<td class=\"left\">m&lt;1&gt;</td><td>3</td><td>0.5000</td>"), std::string::npos);
  EXPECT_NE(html.find("deletion<tspan class=\"unit\">  probability"), std::string::npos);
  EXPECT_NE(html.find("<td class=\"left\">no</td><td>7</td><td>0.2500</td>"), std::string::npos);
  EXPECT_NE(html.find("<figcaption>a · yes, answered no (0.88) · map of yes (0.12) the same everywhere"
                      "</figcaption>"),
            std::string::npos);
  EXPECT_NE(html.find("DNA · actin; attention above, saliency below"), std::string::npos);
}

TEST(Html, ShowsWhatTheMethodMadeOfImages) {
  const TemporaryFolder folder;
  const std::string line = R"({"kind":"pictures","step":1,"epoch":0,"caption":"an image, and <its> copy"})";
  (void)write_run(folder, "other", step_line(1, 0.5));
  folder.write("other/pictures.png", kPng + "views");
  EXPECT_EQ(html_of(folder, {folder.path() / "other"}).find("What the method makes"), std::string::npos)
      << "of a step that the run does not have";
  const Paths runs{write_run(folder, "run", step_line(1, 0.5) + line + "\n")};
  EXPECT_EQ(html_of(folder, runs).find("What the method makes"), std::string::npos) << "no picture";
  folder.write("run/pictures.png", kPng + "views");

  const std::string html = html_of(folder, runs);

  EXPECT_EQ(first_imbalance(html), "");
  EXPECT_NE(html.find("<p>an image, and &lt;its&gt; copy; after step 1</p>"), std::string::npos);
  EXPECT_NE(html.find("base64,iVBORw0KGgp2aWV3cw=="), std::string::npos);
}

TEST(Html, AnExplanationIsReadFromItsFolderAloneAndDamageIsNamed) {
  const TemporaryFolder folder;
  const Paths runs{write_run(folder, "run", step_line(1, 0.5))};
  folder.write("run/maps_01.png", "secret");
  write_explanation(folder, "../../run/maps_01.png");
  EXPECT_NE(html_of(folder, runs).find("base64,iVBORw0KGgptYXBz"), std::string::npos) << "maps, not secret";

  write_explanation(folder, "maps_02.png");
  EXPECT_THROW(html_of(folder, runs), DataError);

  folder.write("run/explain/explain.json", "{\"split\": 3}");
  try {
    html_of(folder, runs);
    ADD_FAILURE() << "accepted";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("the explanation is damaged"), std::string::npos)
        << error.what();
  }
}

/// Why the page cannot be made.
std::string refusal_of(const TemporaryFolder& folder, const Paths& runs) {
  try {
    html_of(folder, runs);
  } catch (const DataError& error) {
    return error.text().what + ": " + error.text().where;
  }
  return "";
}

TEST(Html, ShowsNoFileBehindALinkAndNothingThatIsNoPicture) {
  const TemporaryFolder folder;
  const Paths runs{write_run(folder, "run", step_line(1, 0.5))};
  write_explanation(folder, "maps_01.png");
  const auto explain = folder.path() / "run" / "explain", maps = explain / "maps_01.png";
  const auto secret = folder.write("secret", kPng + "secret");

  std::filesystem::remove(maps);
  std::filesystem::create_symlink(secret, maps);
  EXPECT_EQ(refusal_of(folder, runs), "not a regular file, but a link: " + maps.string());
  std::filesystem::remove(maps);
  ASSERT_EQ(::mkfifo(maps.c_str(), 0600), 0);
  EXPECT_EQ(refusal_of(folder, runs), "not a regular file, but a FIFO: " + maps.string());
  std::filesystem::remove(maps);
  folder.write("run/explain/maps_01.png", "a secret as it is");
  EXPECT_EQ(refusal_of(folder, runs), "not a PNG picture: " + maps.string());
  folder.write("run/explain/maps_01.png", kPng);
  std::filesystem::resize_file(maps, kMostPicture + 1);
  EXPECT_EQ(refusal_of(folder, runs),
            "the file is larger than 64.0 MiB, the most that is read: " + maps.string());

  std::filesystem::rename(explain, folder.path() / "elsewhere");
  std::filesystem::create_directory_symlink(folder.path() / "elsewhere", explain);
  EXPECT_EQ(refusal_of(folder, runs), "not a regular folder, but a link: " + explain.string());
}

TEST(Base64, IsThatOfTheStandard) {
  for (const auto& [bytes, text] : {std::pair<std::string, std::string>{"", ""},
                                    {"f", "Zg=="},
                                    {"fo", "Zm8="},
                                    {"foo", "Zm9v"},
                                    {"foob", "Zm9vYg=="},
                                    {"\xff\xfe\xfd", "//79"}})
    EXPECT_EQ(base64(bytes), text);
}

}  // namespace
}  // namespace cohort::report
