// The `whale` program.
#include "tools/program.h"

int main(int argc, char** argv) {
  using namespace whale::tools;  // NOLINT: the commands
  Program program;
  RegisterDev(program);
  RegisterServe(program);
  RegisterCoordinator(program);
  RegisterPut(program);
  RegisterGet(program);
  RegisterDelete(program);
  RegisterCas(program);
  RegisterStatus(program);
  RegisterAdmin(program);
  RegisterLoad(program);
  RegisterDump(program);
  RegisterBenchYcsb(program);
  RegisterBenchPersist(program);
  RegisterDoctor(program);
  RegisterLog(program);
  return program.Main(argc, argv, ProcessEnvironment());
}
