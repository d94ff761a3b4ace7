// Texts become tokens in a conversion, on several ranks: those of the published tokenizers.
#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "cohort/data/dataset.h"
#include "cohort/text/report.h"
#include "cohort/text/tokenizer.h"

#include "data/command_line.h"

namespace cohort::data_prep {
namespace {

using nlohmann::json;
using text::Ids;

const std::filesystem::path kGolden = std::filesystem::path(COHORT_TEST_DATA) / "golden";

json golden(const std::string& name) {
  std::ifstream stream(kGolden / name);
  return json::parse(stream);
}

Ids tokens_of(const data::Dataset& dataset, std::int64_t row, const std::string& field) {
  std::vector<std::byte> bytes;
  dataset.read_field(row, field, bytes);
  Ids ids(bytes.size() / sizeof(std::int32_t));
  if (!ids.empty()) std::memcpy(ids.data(), bytes.data(), bytes.size());
  return ids;
}

std::string text_of(const data::Dataset& dataset, std::int64_t row, const std::string& field) {
  std::vector<std::byte> bytes;
  dataset.read_field(row, field, bytes);
  const void* start = bytes.data();
  return {static_cast<const char*>(start), bytes.size()};
}

class Texts : public Commands {
 protected:
  /// photos/0000.png … with reports/0000.txt … beside them.
  void make(const std::vector<std::string>& texts) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::string number = fmt::format("{:04}", i);
      if (world_.rank() == 0) testing::write_png(path("photos/" + number + ".png"), 1, 1, 1, {7});
      write("reports/" + number + ".txt", texts[i]);
    }
  }
  void write_vocabulary(const json& pieces) {
    std::string lines;
    for (const json& piece : pieces) lines += piece.get<std::string>() + "\n";
    write("vocab.txt", lines);
  }
  data::Dataset converted(const std::string& options) {
    EXPECT_EQ(
        in_folder("convert images {0}/photos --text {0}/reports=report --out {0}/d --overwrite " + options),
        ExitCode::done);
    return data::Dataset::open(path("d"), "train");
  }
};

std::vector<std::string> texts_in(const json& items) {
  std::vector<std::string> texts;
  for (const json& item : items) texts.push_back(item.at("text").get<std::string>());
  return texts;
}

TEST_F(Texts, HaveTheTokensOfThePublishedWordPiece) {
  const json about = golden("wordpiece.json"), &cases = about.at("cases");
  make(texts_in(cases));
  write_vocabulary(about.at("vocab"));
  for (const char* letters : {"cased", "uncased"}) {
    const data::Dataset train =
        converted(fmt::format("--vocabulary {{0}}/vocab.txt --tokenizer wordpiece-{}", letters));
    for (std::size_t i = 0; i < cases.size(); ++i) {
      Ids expected = cases[i].at(letters).get<Ids>();
      expected.insert(expected.begin(), 2);
      expected.push_back(3);
      EXPECT_EQ(tokens_of(train, static_cast<std::int64_t>(i), "report_tokens"), expected)
          << letters << ": " << cases[i].at("text");
      EXPECT_EQ(text_of(train, static_cast<std::int64_t>(i), "report"),
                cases[i].at("text").get<std::string>());
    }
  }
}

TEST_F(Texts, HaveTheTokensOfThePublishedBytePairsCutToTheirContext) {
  const json about = golden("bpe_small.json"), &items = about.at("items");
  make(texts_in(items));
  const data::Dataset train =
      converted(fmt::format("--vocabulary {} --tokenizer byte-pair --maximal-length {}",
                            (kGolden / about.at("merges_file").get<std::string>()).string(),
                            about.at("context_length").get<int>()));
  for (std::size_t i = 0; i < items.size(); ++i) {
    Ids ids = tokens_of(train, static_cast<std::int64_t>(i), "report_tokens");
    ids.resize(about.at("context_length").get<std::size_t>(), 0);
    EXPECT_EQ(ids, items[i].at("context").get<Ids>()) << items[i].at("text");
  }
  const data::Field& field = train.description().field("report_tokens");
  ASSERT_TRUE(field.tokenization);
  EXPECT_EQ(field.of, "report");
  EXPECT_EQ(field.tokenization->tokenizer, "byte-pair");
  EXPECT_EQ(field.tokenization->size, about.at("vocabulary").get<std::int64_t>());
  EXPECT_EQ(field.tokenization->maximal_length, 16);
  EXPECT_EQ(field.tokenization->vocabulary,
            text::vocabulary_checksum(kGolden / about.at("merges_file").get<std::string>()));
}

TEST_F(Texts, BySentenceHaveTheTokensOfPublishedReports) {
  const json about = golden("collate.json");
  std::vector<std::string> reports;
  for (const json& sentences : about.at("reports"))
    reports.push_back(fmt::format("{}", fmt::join(sentences.get<std::vector<std::string>>(), "\n")));
  make(reports);
  write_vocabulary(golden("wordpiece.json").at("vocab"));
  for (const json& item : about.at("cases")) {
    const data::Dataset train = converted(fmt::format(
        "--vocabulary {{0}}/vocab.txt --by-sentence --maximal-length {}", item.at("max_length").get<int>()));
    std::vector<text::EncodedReport> encoded;
    for (std::int64_t row = 0; row < train.rows(); ++row) {
      const Ids counts = tokens_of(train, row, "report_sentences");
      text::EncodedReport report{tokens_of(train, row, "report_tokens"), {-1}, 0};
      for (const std::int32_t count : counts)
        report.sentence.insert(report.sentence.end(), static_cast<std::size_t>(count), report.sentences++);
      report.sentence.push_back(-1);
      ASSERT_EQ(report.sentence.size(), report.ids.size());
      encoded.push_back(std::move(report));
    }
    const text::ReportBatch batch = text::collate(encoded, 0);
    const auto flat = [](const json& rows) {
      Ids all;
      for (const json& row : rows) all.insert(all.end(), row.begin(), row.end());
      return all;
    };
    EXPECT_EQ(batch.ids, flat(item.at("input_ids")));
    EXPECT_EQ(batch.mask, flat(item.at("attention_mask")));
    EXPECT_EQ(batch.sentence, flat(item.at("sentence_of_token")));
    EXPECT_EQ(batch.sentences, item.at("sentences").get<Ids>());
  }
}

class Captions : public Texts {
 protected:
  Captions() {
    make({"a red cell", "", "two red cells in a dish", "zebra"});
    write("captions.csv",
          "path,caption\nphotos/0000.png,a red cell\nphotos/0001.png,\nphotos/0002.png,two red cells in a "
          "dish\nphotos/0003.png,zebra\n");
    write("texts.txt", "a red cell\na red dish\nin two cells\n");
    EXPECT_EQ(in_folder("vocabulary {0}/texts.txt --of words --size 20 --out {0}/words.txt"), ExitCode::done);
  }
  const std::string line_ = "convert manifest {0}/captions.csv --text caption --vocabulary {0}/words.txt ";
};

TEST_F(Captions, OfAVocabularyOfOnesOwnAreTheSameFromATableOnAnyRanks) {
  ASSERT_EQ(in_folder(line_ + "--field-codec caption_tokens=zstd --out {0}/d"), ExitCode::done);
  comm::Communicator alone = world_.split(world_.rank(), "alone");
  if (world_.rank() == 0) {
    run(fmt::format(fmt::runtime(line_ + "--field-codec caption_tokens=zstd --out {0}/alone"),
                    folder_.path().string()),
        alone);
    EXPECT_EQ(read_file(path("d/train-00000.h5")), read_file(path("alone/train-00000.h5")));
  }
  world_.barrier();
  const data::Dataset train = data::Dataset::open(path("d"), "train");
  EXPECT_EQ(text_of(train, 0, "caption"), "a red cell");
  EXPECT_EQ(tokens_of(train, 0, "caption_tokens").size(), 5U);
  EXPECT_EQ(tokens_of(train, 1, "caption_tokens"), (Ids{2, 3})) << "begin and end of no text";
  EXPECT_EQ(tokens_of(train, 3, "caption_tokens"), (Ids{2, 1, 3})) << "a word that is not known";
  EXPECT_EQ(in_folder("verify {0}/d"), ExitCode::done);
  EXPECT_EQ(in_folder(line_ + "--field-codec caption_tokens=zstd --out {0}/d --recheck"), ExitCode::done);
  EXPECT_NE(refused(line_ + "--maximal-length 6 --field-codec caption_tokens=zstd --out {0}/d")
                .find("the folder already holds another dataset"),
            std::string::npos);
}

TEST_F(Captions, ThatAreCutOrEmptyOrUnknownAreCounted) {
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(in_folder(line_ + "--maximal-length 6 --out {0}/d"), ExitCode::done);
  const std::string said = ::testing::internal::GetCapturedStderr();
  if (world_.rank() == 0) {
    EXPECT_NE(said.find("1 image: a text has more tokens than --maximal-length and lost its end"),
              std::string::npos)
        << said;
    EXPECT_NE(said.find("2 images: a text is empty, or has no token that the vocabulary knows"),
              std::string::npos)
        << said;
  }
  EXPECT_EQ(tokens_of(data::Dataset::open(path("d"), "train"), 2, "caption_tokens").size(), 6U);
}

TEST_F(Captions, AreShownWithTheirTokens) {
  ASSERT_EQ(in_folder(line_ + "--out {0}/d"), ExitCode::done);
  ::testing::internal::CaptureStdout();
  ASSERT_EQ(in_folder("inspect {0}/d"), ExitCode::done);
  std::fflush(stdout);
  const std::string shown = ::testing::internal::GetCapturedStdout();
  if (world_.rank() != 0) return;
  EXPECT_NE(shown.find("caption_tokens: tokens i32 [n], raw; of caption by wordpiece-uncased, 12 tokens, "
                       "vocabulary "),
            std::string::npos)
      << shown;
  EXPECT_NE(shown.find("first    photos/0000.png of split train\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("  caption: a red cell\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("  caption_tokens: 2 5 "), std::string::npos) << shown;
}

TEST_F(Captions, SayWhatIsWrongWithTheirVocabulary) {
  const auto refusal_of = [&](const std::string& options) {
    return refused("convert manifest {0}/captions.csv --text caption --out {0}/d " + options);
  };
  EXPECT_NE(refusal_of("--vocabulary {0}/nothing.txt").find("nothing.txt"), std::string::npos);
  EXPECT_NE(refusal_of("--vocabulary {0}/texts.txt").find("the vocabulary has no token"), std::string::npos);
  EXPECT_NE(refusal_of("--vocabulary {0}/words.txt --tokenizer byte-pair").find("is no pair of symbols"),
            std::string::npos);
  EXPECT_NE(refused("convert manifest {0}/captions.csv --vocabulary {0}/words.txt --out {0}/d")
                .find("there are no texts that the vocabulary could be for"),
            std::string::npos);
  EXPECT_NE(refused("convert images {0}/photos --vocabulary {0}/words.txt --out {0}/d")
                .find("there are no texts that the vocabulary could be for"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path("d")));
}

TEST_F(Captions, OfOtherTokenizersAreNotMerged) {
  ASSERT_EQ(in_folder(line_ + "--out {0}/a"), ExitCode::done);
  ASSERT_EQ(in_folder(line_ + "--tokenizer wordpiece-cased --out {0}/b"), ExitCode::done);
  EXPECT_NE(refused("merge {0}/a {0}/b --prefix-ids --out {0}/c")
                .find("field 'caption_tokens' was made by another tokenizer than that of"),
            std::string::npos);
  ASSERT_EQ(in_folder(line_ + "--out {0}/same"), ExitCode::done);
  ASSERT_EQ(in_folder("merge {0}/a {0}/same --prefix-ids --out {0}/c"), ExitCode::done);
  EXPECT_EQ(data::Description::read(path("c")).fields, data::Description::read(path("a")).fields);
}

std::vector<float> boxes_at(const data::Dataset& dataset, std::int64_t row) {
  std::vector<std::byte> bytes;
  dataset.read_field(row, "boxes", bytes);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// "There is a bright cross in the upper left."
std::string sentence_of_box(std::span<const float> box, bool is_bright, std::int64_t side) {
  const auto third = [&](float low, float high) {
    return static_cast<std::size_t>((low + high) / 2 / static_cast<float>(side) * 3);
  };
  constexpr std::array kOf{"square", "circle", "cross"}, kDown{"upper", "central", "lower"},
      kAcross{"left", "middle", "right"};
  return fmt::format("There is a {} {} in the {} {}.", is_bright ? "bright" : "dark",
                     kOf.at(static_cast<std::size_t>(box[4])), kDown.at(third(box[1], box[3])),
                     kAcross.at(third(box[0], box[2])));
}

// What is drawn, where, and what is said of it are one; of any number of ranks.
TEST_F(Texts, OfShapesSayWhereTheyAre) {
  constexpr std::int64_t kSide = 48;
  ASSERT_EQ(in_folder("shapes --contexts 2 --images-per-context 20 --shift 0 --size 48 --out {0}/shapes"),
            ExitCode::done);
  const data::Dataset shapes = data::Dataset::open(path("shapes"), "train");
  std::vector<std::byte> pixels(kSide * kSide);
  for (std::int64_t row = 0; row < shapes.rows(); ++row) {
    shapes.read(row, pixels);
    const std::vector<float> boxes = boxes_at(shapes, row);
    std::vector<std::string> sentences;
    for (std::size_t i = 0; i < boxes.size(); i += 5) {
      const std::span box(boxes.data() + i, 5);
      const auto y = static_cast<std::size_t>((box[1] + box[3]) / 2),
                 x = static_cast<std::size_t>((box[0] + box[2]) / 2);
      const int middle = std::to_integer<int>(pixels[y * kSide + x]);
      EXPECT_GT(std::abs(middle - 127), 50) << "of a ground of 127 ± 13";
      sentences.push_back(sentence_of_box(box, middle > 127, kSide));
    }
    EXPECT_EQ(text_of(shapes, row, "text"), fmt::format("{}", fmt::join(sentences, " ")));
    EXPECT_EQ(tokens_of(shapes, row, "text_sentences"), Ids(sentences.size(), 10));
    const Ids tokens = tokens_of(shapes, row, "text_tokens");
    EXPECT_EQ(std::ssize(tokens), 10 * std::ssize(sentences) + 2);
    EXPECT_EQ(std::count(tokens.begin(), tokens.end(), 1), 0) << "unknown words";
  }
  EXPECT_EQ(shapes.description().field("text_tokens").tokenization->size, 22);
}

}  // namespace
}  // namespace cohort::data_prep
