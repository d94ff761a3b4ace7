// cohort-data vocabulary, as it is typed, on several ranks.
#include "cohort/text/vocabulary.h"

#include "data/command_line.h"

namespace cohort::data_prep {
namespace {

using Pieces = std::vector<std::string>;

Pieces behind_specials(Pieces pieces) {
  pieces.erase(pieces.begin(), pieces.begin() + std::ssize(text::special_pieces()));
  return pieces;
}

class Vocabularies : public Commands {
 protected:
  Vocabularies() {
    write("t.csv", "id,findings\n1,\"The heart, the lungs\"\n2,Heart normal\n3,\n4,the LUNGS\n");
    write("t.txt", "The heart, the lungs\nHeart normal\r\n\nthe LUNGS");
  }
  Pieces made(const std::string& options) {
    EXPECT_EQ(in_folder("vocabulary " + options + " --out {0}/vocab.txt --overwrite"), ExitCode::done);
    return behind_specials(text::read_vocabulary(path("vocab.txt")));
  }
};

TEST_F(Vocabularies, HaveTheWordsOfAColumnOrOfLinesOnAnyNumberOfRanks) {
  const Pieces expected{"the", "heart", "lungs", ",", "normal"};
  EXPECT_EQ(made("{0}/t.csv --column findings --of words"), expected);
  EXPECT_EQ(made("{0}/t.txt --of words"), expected);
  EXPECT_EQ(made("{0}/t.txt {0}/t.txt --of words --size 7"), (Pieces{"the", "heart"}));
  EXPECT_EQ(made("{0}/t.txt --of words --tokenizer wordpiece-cased --size 8"), (Pieces{"the", ",", "Heart"}));
}

TEST_F(Vocabularies, HavePiecesThatWordsAreMadeOf) {
  write("x.txt", "ab ab abc\nab\nb\n" + std::string(101, 'y'));
  EXPECT_EQ(made("{0}/x.txt"), (Pieces{"##b", "##c", "a", "b", "ab", "abc"}));
}

TEST_F(Vocabularies, SayWhatIsWrong) {
  EXPECT_NE(refused("vocabulary {0}/t.csv --column finding --out {0}/v").find("did you mean 'findings'"),
            std::string::npos);
  EXPECT_NE(refused("vocabulary {0}/nothing.txt --out {0}/v").find("nothing.txt"), std::string::npos);
  write("latin.txt", "a\nZ\xFCrich\n");
  EXPECT_NE(refused("vocabulary {0}/latin.txt --out {0}/v").find("latin.txt:2"), std::string::npos);
  write("empty.txt", " \n");
  EXPECT_NE(refused("vocabulary {0}/empty.txt --out {0}/v").find("the texts have no word"),
            std::string::npos);
  write("there.txt", "kept");
  EXPECT_NE(refused("vocabulary {0}/t.txt --out {0}/there.txt").find("--overwrite"), std::string::npos);
  EXPECT_EQ(read_file(path("there.txt")), "kept");
  EXPECT_FALSE(std::filesystem::exists(path("v")));
}

}  // namespace
}  // namespace cohort::data_prep
