#include "cohort/program.h"

int main(int argc, char** argv) {
  return cohort::run_cohort(argc, argv);
}
