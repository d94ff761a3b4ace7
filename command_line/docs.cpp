#include "command_line/docs.h"

#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "cohort/core/file.h"

#include "command_line/completion.h"
#include "command_line/man_page.h"

namespace cohort::command_line {
namespace {

using Choose = std::function<void(std::function<ExitCode()>)>;

using Keys = std::function<std::vector<std::string>()>;

/// As the folder share/ of an installation has them.
ExitCode write_share(const CLI::App& program, const std::filesystem::path& folder, const Keys& keys) {
  const auto write = [&](const std::filesystem::path& file, const std::string& text) {
    make_writable_folder((folder / file).parent_path());
    write_file_atomically(folder / file, text);
  };
  for_each_command(program, [&](const CLI::App& command) {
    write(std::filesystem::path("man/man1") / man_page_file(command), man_page(command));
  });
  const std::string& name = program.get_name();
  const std::vector<std::string> words = keys();
  write("bash-completion/completions/" + name, completion("bash", program, words));
  write("zsh/site-functions/_" + name, completion("zsh", program, words));
  write("fish/vendor_completions.d/" + name + ".fish", completion("fish", program, words));
  return ExitCode::done;
}

ExitCode report_troubles(CLI::App& program) {
  const std::vector<std::string> lines = check_commands(program);
  for (const std::string& line : lines) fmt::print("{}\n", line);
  return lines.empty() ? ExitCode::done : ExitCode::bug;
}

void add_share(CLI::App& docs, CLI::App& program, const Choose& choose, const Keys& keys) {
  const auto folder = std::make_shared<std::filesystem::path>();
  CLI::App& command =
      add_command(docs, {"share",
                         "Write manual pages and completion, as share/ of an installation has them",
                         {program.get_name() + " docs share build/share"},
                         endings_alone()});
  command.add_option("folder", *folder, "where to write them")->required()->type_name("DIR");
  command.callback([=, &program] { choose([=, &program] { return write_share(program, *folder, keys); }); });
}

void add_completion(CLI::App& docs, CLI::App& program, const Choose& choose, const Keys& keys) {
  const auto shell = std::make_shared<std::string>();
  CLI::App& command = add_command(docs, {"completion",
                                         "Print what completes command lines in a shell",
                                         {program.get_name() + " docs completion bash"},
                                         endings_alone()});
  command.add_option("shell", *shell, "for which one")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command.callback([=, &program] {
    choose([=, &program] {
      fmt::print("{}", completion(*shell, program, keys()));
      return ExitCode::done;
    });
  });
}

void add_check(CLI::App& docs, CLI::App& program, const Choose& choose) {
  CLI::App& command =
      add_command(docs, {"check",
                         "Check that every command explains itself: a sentence, examples, exit codes",
                         {program.get_name() + " docs check"},
                         with(endings_alone(), {ExitCode::bug, "a command does not"})});
  command.callback([choose, &program] { choose([&program] { return report_troubles(program); }); });
}

}  // namespace

CLI::App& add_docs(CLI::App& program, Choose choose, Keys keys) {
  CLI::App& docs = add_command(program, {"docs",
                                         "Print or write documentation that is generated from the program",
                                         {program.get_name() + " docs completion bash"},
                                         endings_alone()});
  docs.require_subcommand(1);
  add_share(docs, program, choose, keys);
  add_completion(docs, program, choose, keys);
  add_check(docs, program, choose);
  return docs;
}

}  // namespace cohort::command_line
