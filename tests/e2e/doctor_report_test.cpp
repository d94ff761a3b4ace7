// How the findings of many hosts become one line.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "doctor/report.h"

namespace cohort::jobs::doctor {
namespace {

constexpr Check kFiles{"open files", ExitCode::data, nullptr};

Finding good(const std::string& what) {
  return {Status::ok, what, ""};
}

Finding few(const std::string& what) {
  return {Status::warn, what, "raise it"};
}

TEST(DoctorReport, WhatAllSayIsSaidOnce) {
  const Result result = summarise(kFiles, {good("up to 4096"), good("up to 4096")}, {"n1", "n2"});

  EXPECT_EQ(text_of(result), "ok    open files      up to 4096\n");
}

TEST(DoctorReport, GoodHostsAreANumberAndTheFirstAnExample) {
  const Result result = summarise(kFiles, {good("up to 4096"), good("up to 9000")}, {"n1", "n2"});

  EXPECT_EQ(result.what, "2 hosts ok; n1: up to 4096");
}

TEST(DoctorReport, BadHostsAreNamedAndBadRanksOfSharedHosts) {
  const Result result =
      summarise(kFiles, {good("a"), good("a"), good("b"), few("up to 200"), few("up to 100")},
                {"n1", "n1", "n17", "n17", "n18"});

  EXPECT_EQ(text_of(result),
            "warn  open files      1 host ok; n17 rank 3: up to 200; n18: up to 100\n      fix: raise it\n");
}

TEST(DoctorReport, OfManyBadHostsTheFirstAreNamed) {
  std::vector<Finding> findings;
  std::vector<std::string> hosts;
  for (int i = 0; i < 100; ++i) {
    findings.push_back(few("up to 200"));
    hosts.push_back("n" + std::to_string(i));
  }
  findings.push_back(good("up to 4096"));
  hosts.emplace_back("n100");

  EXPECT_EQ(summarise(kFiles, findings, hosts).what,
            "1 host ok; n0: up to 200; n1: up to 200; n2: up to 200; n3: up to 200; 96 more");
}

TEST(DoctorReport, TheWorstDecides) {
  const Finding broken{Status::fail, "broken", "mend it"};
  const Result result = summarise(kFiles, {few("few"), broken}, {"n1", "n2"});

  EXPECT_EQ(result.status, Status::fail);
  EXPECT_EQ(result.fix, "mend it");
  EXPECT_NE(json_of({result}).find(R"("status": "fail")"), std::string::npos);
}

TEST(DoctorReport, AFindingTravelsAsText) {
  const Finding back = parse_finding(serialise(few("a \"quoted\"\nline \xff")));

  EXPECT_EQ(back.status, Status::warn);
  EXPECT_EQ(back.what, "a \"quoted\"\nline \xEF\xBF\xBD");
  EXPECT_EQ(back.fix, "raise it");
}

}  // namespace
}  // namespace cohort::jobs::doctor
