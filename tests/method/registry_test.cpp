#include "cohort/method/registry.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/config/load.h"
#include "cohort/core/error.h"
#include "cohort/method/choice.h"

#include "../support/made_method.h"
#include "../support/small_model.h"
#include "../support/temporary_folder.h"

namespace cohort::method {
namespace {

/// Other than the one that it has.
void set_another_value(config::Field& field) {
  const std::vector<std::string> before = field.get();
  std::vector<std::string> candidates{"true", "false", "7", "0.5", "0.25", "2"};
  candidates.insert(candidates.end(), field.names.begin(), field.names.end());
  for (const std::string& candidate : candidates) {
    try {
      field.set({candidate});
      if (field.get() != before) return;
    } catch (const std::invalid_argument&) {  // the next one
    }
  }
  FAIL() << field.key << " takes none of the values that were tried";
}

std::shared_ptr<nn::VisionTransformer> encoder(std::int64_t classes) {
  nn::VitShape shape = testing::small_shape();
  shape.classes = classes;
  return std::make_shared<nn::VisionTransformer>(shape, 1);
}

/// With texts, for methods that read some.
data::Description with_texts() {
  data::Field tokens{"words", data::FieldKind::tokens, data::ValueType::i32, {-1}, data::Codec::raw, "text"};
  tokens.tokenization = data::Tokenization{"wordpiece-uncased", 1, 30, 16};
  data::Description description;
  description.fields = {tokens};
  return description;
}

class EveryMethod : public ::testing::TestWithParam<std::string> {
 protected:
  EveryMethod() { choice_.choose(GetParam()); }

  Choice choice_;
};

TEST_P(EveryMethod, SaysWhatItIsFor) {
  const Entry& entry = choice_.entry();
  EXPECT_FALSE(entry.sentence.empty());
  EXPECT_FALSE(entry.section.empty());
  testing::ChosenMethod chosen{choice_};
  const config::Fields fields(chosen);
  for (const config::Field& field : fields.list()) EXPECT_FALSE(field.description.empty()) << field.key;
}

TEST_P(EveryMethod, HasOptionsThatReadBackToTheSame) {
  testing::ChosenMethod chosen{choice_};
  config::Fields fields(chosen);
  for (config::Field& field : fields.list()) {
    if (field.key.starts_with(GetParam() + ".")) set_another_value(field);
  }
  const std::string written = config::dump(fields, false);

  const testing::TemporaryFolder folder;
  testing::ChosenMethod again;
  config::Fields read(again);
  config::load(folder.write("method.yaml", written), read);

  EXPECT_EQ(config::dump(read, false), written);
  EXPECT_EQ(again.choice.name(), GetParam());
}

// What the trainer was told before the method was made is so.
TEST_P(EveryMethod, IsWhatItsTraitsSay) {
  const Traits traits = choice_.traits();
  constexpr std::int64_t kClasses = 3;
  std::int64_t classes = 0;
  const auto method =
      testing::make_method({"method=" + GetParam()}, {.encoder =
                                                          [&](std::int64_t asked) {
                                                            classes = std::max(classes, asked);
                                                            return encoder(asked);
                                                          },
                                                      .classes = traits.learns_classes ? kClasses : 0,
                                                      .label_counts = {1, 1, 1},
                                                      .description = with_texts()});
  const std::vector<Part> parts = method->parts();

  EXPECT_TRUE(traits.needs_label || !traits.learns_classes);
  EXPECT_EQ(classes, traits.learns_classes ? kClasses : 0);
  EXPECT_EQ(std::count_if(parts.begin(), parts.end(), [](const Part& part) { return part.is_trained(); }), 1);
  const bool is_alone = parts.size() == 1 && parts.front().model == method->encoders().front().encoder;
  EXPECT_EQ(is_alone, traits.is_encoder_alone);
  if (is_alone) {
    EXPECT_EQ(parts.front().name, "model");
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryMethod, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const Entry& entry : registry()) names.emplace_back(entry.name);
                           return names;
                         }()),
                         [](const auto& test) { return test.param; });

TEST(Registry, AnUnknownNameIsRefusedWithTheNearest) {
  try {
    (void)find("dnio");
    FAIL() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().what, "there is no method 'dnio'");
    EXPECT_EQ(error.text().fix, "did you mean 'dino'?");
  }
  Choice choice;
  EXPECT_THROW(choice.choose("dnio"), UsageError);
  EXPECT_EQ(choice.name(), "supervised") << "as before";
}

/// `use` is a Bug in a program that has this method besides. In a process of its own, as what is added stays;
/// it ends without what MPI does at an exit.
void is_bug_with(const Entry& entry, void (*use)()) {
  EXPECT_EXIT(
      {
        add(entry);
        try {
          use();
        } catch (const Bug&) {
          std::_Exit(0);
        }
        std::_Exit(1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(Registry, TwoMethodsOfOneNameAreABug) {
  is_bug_with(find("dino"), [] {
    testing::ChosenMethod chosen;
    (void)config::Fields(chosen);
  });
}

TEST(Registry, ClassesOfNoLabelAreABug) {
  Entry entry = find("dino");
  entry.name = "classes_of_nothing";
  entry.traits = [](const config::Options&) { return Traits{.learns_classes = true}; };
  is_bug_with(entry, [] {
    Choice choice;
    choice.choose("classes_of_nothing");
    (void)choice.traits();
  });
}

TEST(Choice, CopiesHaveOptionsOfTheirOwn) {
  testing::ChosenMethod first;
  testing::set_options(first, {"dino.hidden=7"});
  testing::ChosenMethod second = first;
  testing::set_options(second, {"method=dino", "dino.hidden=8"});

  EXPECT_EQ(testing::number_of(first, "dino.hidden"), 7);
  EXPECT_EQ(first.choice.name(), "supervised");
  first = second;
  testing::set_options(second, {"dino.hidden=9"});
  EXPECT_EQ(testing::number_of(first, "dino.hidden"), 8);
  EXPECT_EQ(first.choice.name(), "dino");
}

// A configuration may keep the options of methods that it does not choose.
TEST(Choice, KeepsTheOptionsOfMethodsThatAreNotChosen) {
  testing::ChosenMethod chosen;
  testing::set_options(chosen, {"dino.hidden=7", "method=supervised", "supervised.mixup=0.5"});
  EXPECT_EQ(testing::number_of(chosen, "dino.hidden"), 7);
  EXPECT_EQ(testing::number_of(chosen, "supervised.mixup"), 0.5);
}

}  // namespace
}  // namespace cohort::method
