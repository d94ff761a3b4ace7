// Open MPI unloads its plug-ins at the end: the leaks that they leave behind would come from nowhere, and no
// line of leaks.txt could name them. Linked into the programs of sanitizer builds, this takes the place of
// libc's function.
extern "C" int dlclose(void* /*handle*/) noexcept {
  return 0;
}
