#include "core/student.h"

#include <array>
#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

namespace cohort {
namespace {

// NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2: upper critical values of Student's t.
TEST(Student, QuantilesAreThoseOfTheTable) {
  for (const auto& [degrees, t] :
       {std::pair{1.0, 12.706}, {2.0, 4.303}, {5.0, 2.571}, {30.0, 2.042}, {100.0, 1.984}})
    EXPECT_NEAR(student_quantile(0.05, degrees), t, 5e-4) << degrees;
  EXPECT_NEAR(student_quantile(0.01, 10), 3.169, 5e-4);
  EXPECT_NEAR(student_quantile(0.001, 4), 8.610, 5e-3);
}

// scipy.stats.t.isf(tail / 2, degrees) of SciPy.
TEST(Student, FarTailsAndDegreesThatAreNotWhole) {
  struct Case {
    double tail, degrees, t;
  };
  for (const Case& known : {Case{0.05, 31, 2.039513446396408}, Case{1e-6, 3, 130.15458955835794},
                            Case{1e-9, 31, 8.612222910289358}, Case{0.05, 2.5, 3.5746548420036834},
                            Case{0.05, 0.5, 164.55767348048846}, Case{0.05, 1e6, 1.9599663568141072}})
    EXPECT_NEAR(student_quantile(known.tail, known.degrees) / known.t, 1, 1e-9)
        << known.tail << " " << known.degrees;
}

// One degree of freedom is the Cauchy distribution, of which the quantile is known.
TEST(Student, WithOneDegreeIsCauchy) {
  for (const double tail : {0.5, 0.1, 1e-3, 1e-12})
    EXPECT_NEAR(student_quantile(tail, 1) * std::tan(std::numbers::pi * tail / 2), 1, 1e-12) << tail;
}

}  // namespace
}  // namespace cohort
