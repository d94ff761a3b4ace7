#include "core/student.h"

#include <boost/math/distributions/students_t.hpp>

namespace cohort {

double student_quantile(double tail, double degrees) {
  return boost::math::quantile(boost::math::complement(boost::math::students_t(degrees), tail / 2));
}

}  // namespace cohort
