#pragma once
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace cohort::testing {

/// What storage_faults.cpp wrote down.
struct StorageCall {
  int process = 0;
  std::string call;  ///< create, write, sync, rename, exchange, remove, remove_in, make_folder
  std::string path, other;
};

/// Calls on what lies in `folder`.
inline std::vector<StorageCall> read_storage_log(const std::filesystem::path& log,
                                                 const std::filesystem::path& folder) {
  std::vector<StorageCall> calls;
  std::ifstream file(log);
  for (std::string line; std::getline(file, line);) {
    std::istringstream parts(line);
    StorageCall call;
    std::string process;
    std::getline(parts, process, '\t');
    std::getline(parts, call.call, '\t');
    std::getline(parts, call.path, '\t');
    std::getline(parts, call.other, '\t');
    call.process = std::stoi(process);
    if (call.path.starts_with(folder.string())) calls.push_back(std::move(call));
  }
  return calls;
}

/// What would be lost or half there after a power cut, as POSIX has it: content that nobody synced after
/// writing it, names whose folder nobody synced after they came into it. A process syncs what it wrote
/// itself, since on a network file system nobody else has it.
class PowerCut {
 public:
  /// What is wrong with the call, given those before; empty: nothing.
  std::string take(const StorageCall& call) {
    if (call.call == "write") unsynced_[call.path].insert(call.process);
    if (call.call == "create" || call.call == "make_folder") names_.insert(call.path);
    if (call.call == "sync") sync(call);
    if (call.call == "remove") {
      unsynced_.erase(call.path);
      names_.erase(call.path);
    }
    if (call.call != "rename" && call.call != "exchange") return {};
    const std::vector<std::string> left = lost_of(call.path);
    move(call.path, call.other);
    names_.insert(call.other);
    committed_.insert(call.other);
    return left.empty() ? "" : "renamed to " + call.other + " before this was synced: " + left.front();
  }

  /// Files whose content, or whose name, a power cut would take; names of those alone that were renamed into
  /// place.
  [[nodiscard]] std::vector<std::string> lost() const {
    std::vector<std::string> all;
    for (const std::string& name : names_) {
      if (committed_.contains(name)) all.push_back(name);
    }
    return all;
  }
  /// Whether a power cut would take the name.
  [[nodiscard]] bool has_unsafe_name(const std::string& path) const { return names_.contains(path); }
  /// Of `path`, or of what lies in it.
  [[nodiscard]] std::vector<std::string> lost_of(const std::string& path) const {
    std::vector<std::string> all;
    for (const auto& [file, processes] : unsynced_) {
      if (is_in(file, path)) all.push_back(file);
    }
    for (const std::string& name : names_) {
      if (name != path && is_in(name, path)) all.push_back("the name " + name);
    }
    return all;
  }

 private:
  static bool is_in(const std::string& file, const std::string& folder) {
    return file == folder || file.starts_with(folder + "/");
  }
  void sync(const StorageCall& call) {
    if (const auto found = unsynced_.find(call.path); found != unsynced_.end()) {
      found->second.erase(call.process);
      if (found->second.empty()) unsynced_.erase(found);
    }
    std::erase_if(names_, [&](const std::string& name) {
      return std::filesystem::path(name).parent_path() == call.path;
    });
  }
  void move(const std::string& from, const std::string& to) {
    std::map<std::string, std::set<int>> files;
    for (const auto& [file, processes] : unsynced_)
      files[is_in(file, from) ? to + file.substr(from.size()) : file] = processes;
    unsynced_ = std::move(files);
    std::set<std::string> names;
    for (const std::string& name : names_)
      names.insert(is_in(name, from) ? to + name.substr(from.size()) : name);
    names_ = std::move(names);
  }

  std::map<std::string, std::set<int>> unsynced_;  ///< files, and the processes that wrote them
  std::set<std::string> names_, committed_;
};

}  // namespace cohort::testing
