#include "comm/failure.h"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <system_error>

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/file.h"
#include "cohort/core/printable.h"

namespace cohort::comm {
namespace {

struct AgreedMark {};

/// Caught as E by those who handle it, as AgreedMark by describe().
template <class E>
struct Agreed final : E, AgreedMark {
  using E::E;
};

bool is_agreed(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const AgreedMark&) {
    return true;
  } catch (...) {
    return false;
  }
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

/// `where`: what asked for it; may be empty.
Failure out_of_memory(const std::string& where) {
  return {Failure::Kind::error,
          ExitCode::out_of_memory,
          {"out of memory", where,
           "use fewer images at once (sampler.images_per_group, train.micro_batches), or fewer ranks on a "
           "node"}};
}

/// fmt::print() throws it when the output cannot be written.
Failure of_the_system(const std::system_error& error) {
  if (std::ferror(stdout) != 0) return of_output(error.code().value());
  if (error.code() == std::errc::not_enough_memory) return out_of_memory(error.what());
  return {Failure::Kind::other, ExitCode::bug, {error.what(), {}, {}}};
}

Failure describe_unmarked(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    return {Failure::Kind::error, known.exit_code(), known.text()};
  } catch (const Bug& bug) {
    return {Failure::Kind::bug, ExitCode::bug, {bug.what(), {}, {}}};
  } catch (const std::bad_alloc&) {
    return out_of_memory("");
  } catch (const c10::OutOfMemoryError& torch) {
    return out_of_memory(first_line(torch.what_without_backtrace()));
  } catch (const c10::Error& torch) {
    const std::string text = first_line(torch.what_without_backtrace());
    if (text.find("allocate memory") != std::string::npos) return out_of_memory(text);
    return {Failure::Kind::other, ExitCode::bug, {text, {}, {}}};
  } catch (const std::filesystem::filesystem_error& disk) {
    return {Failure::Kind::error,
            ExitCode::data,
            {disk.code().message(), disk.path1().string(), disk_remedy(disk.code().value())}};
  } catch (const std::system_error& refused) {
    return of_the_system(refused);
  } catch (const std::exception& other) {
    return {Failure::Kind::other, ExitCode::bug, {other.what(), {}, {}}};
  } catch (...) {
    return {Failure::Kind::other, ExitCode::bug, {"an exception of unknown type", {}, {}}};
  }
}

}  // namespace

Failure of_output(int error) {
  return {Failure::Kind::error,
          ExitCode::data,
          {fmt::format("cannot write the output: {}", std::strerror(error)), "standard output",
           disk_remedy(error, "check where the output goes")}};
}

Failure describe(const std::exception_ptr& error) {
  Failure failure = describe_unmarked(error);
  failure.agreed = is_agreed(error);
  return failure;
}

void add_rank(Failure& failure, int rank, int size) {
  const std::string& where = failure.text.where;
  failure.text.where = fmt::format("rank {} of {}{}{}", rank, size, where.empty() ? "" : ": ", where);
}

std::string serialise(const Failure& failure) {
  const auto& [what, where, fix] = failure.text;
  const nlohmann::json values{static_cast<int>(failure.kind), static_cast<int>(failure.code), what, where,
                              fix};
  return values.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Failure parse_failure(const std::string& text) {
  const auto values = nlohmann::json::parse(text);
  return {static_cast<Failure::Kind>(values.at(0).get<int>()),
          static_cast<ExitCode>(values.at(1).get<int>()),
          {values.at(2), values.at(3), values.at(4)},
          true};
}

void throw_agreed(const Failure& failure) {
  const auto& [what, where, fix] = failure.text;
  const std::string place = where.empty() ? "" : fmt::format("\n  where: {}", where);
  if (failure.kind == Failure::Kind::bug) throw Agreed<Bug>(what + place);
  if (failure.kind == Failure::Kind::other) throw Agreed<std::runtime_error>(what + place);
  switch (failure.code) {
    case ExitCode::usage:
      throw Agreed<UsageError>(failure.text);
    case ExitCode::data:
      throw Agreed<DataError>(failure.text);
    case ExitCode::numerical:
      throw Agreed<NumericalError>(failure.text);
    case ExitCode::rank_failed:
      throw Agreed<RankError>(failure.text);
    case ExitCode::out_of_memory:
      throw Agreed<MemoryError>(failure.text);
    default:
      throw Agreed<Error>(failure.code, failure.text);
  }
}

std::string message(const std::string& program, const Failure& failure) {
  const auto& [what, where, fix] = failure.text;
  const bool is_ours = failure.kind == Failure::Kind::error;  // texts of libraries may have several lines
  std::string lines = fmt::format("{}: {}\n", program, is_ours ? printable(what) : printable_lines(what));
  if (!where.empty()) lines += fmt::format("  where: {}\n", printable(where));
  if (!fix.empty()) lines += fmt::format("  fix:   {}\n", printable(fix));
  if (failure.kind == Failure::Kind::bug)
    lines += "  fix:   this is a defect of Cohort: please report it with these lines\n";
  return lines;
}

}  // namespace cohort::comm
