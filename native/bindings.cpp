// The border with Python: checks shapes and types, lets go of the interpreter lock, does no arithmetic.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "isa.h"
#include "threads.h"

namespace nb = nanobind;
using namespace rhapsode;

NB_MODULE(_native, m) {
  m.doc() = "rhapsode's native core";
  nb::set_leak_warnings(false);

  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const SettingError& e) {
      nb::object type = nb::module_::import_("rhapsode.errors").attr("ConfigError");
      nb::object error = type(e.name, e.found, e.allowed);
      PyErr_SetObject(type.ptr(), error.ptr());
    }
  });

  m.def("isa", [] { return std::string(isa_name(current_isa())); }, "the instruction set in use");
  m.def("available_isas", [] {
    std::vector<std::string> names;
    for (Isa isa : available_isas()) names.push_back(isa_name(isa));
    return names;
  }, "instruction sets this machine has, in rising order");
  m.def("use_isa", &use_isa, nb::arg("name"), "use another instruction set for layers made from now on");
  m.def("threads", &thread_count, nb::call_guard<nb::gil_scoped_release>(), "threads in the pool");
  m.def("use_threads", &use_threads, nb::arg("n"), nb::call_guard<nb::gil_scoped_release>(), "use n threads from now on");
}
