# Generation of C from .proto files, as functions on targets.
find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_C protoc-gen-c REQUIRED)
# The folder of the installed well-known types.
find_path(GOOGLE_PROTOS google/protobuf/descriptor.proto REQUIRED)

# leadrouter_proto_library(TARGET PROTOS a.proto ... ROOT dir [GRPC [CLIENT_ONLY prefix_]] [IMPORTS ...] [LINK ...]): a
# static library of protobuf-c
# messages, and with GRPC of our stubs (CLIENT_ONLY: the client's half, whose
# runtime is called by functions with that prefix); every file then has a service. PROTOS are relative to ROOT.
# Headers are included as "path/name.pb-c.h" and "path/name.grpc.h". LINK: the libraries of files that are imported from elsewhere.
# IMPORTS: files under ROOT that are imported for their options, of which nothing is generated.
#
# With GRPC protoc-c does not see the services: the functions that it would make of them have the names of our client stubs.
function(leadrouter_proto_library target)
  cmake_parse_arguments(ARG "GRPC" "ROOT;CLIENT_ONLY" "PROTOS;IMPORTS;LINK" ${ARGN})
  set(out "${CMAKE_CURRENT_BINARY_DIR}/${target}.gen")
  file(MAKE_DIRECTORY "${out}")
  set(messages --plugin=protoc-gen-c=${PROTOC_C} --c_out=${out})
  list(TRANSFORM ARG_PROTOS PREPEND "${ARG_ROOT}/" OUTPUT_VARIABLE depends) # they import each other
  list(TRANSFORM ARG_IMPORTS PREPEND "${ARG_ROOT}/")
  list(APPEND depends ${ARG_IMPORTS})
  set(grpc_c_options "$<$<BOOL:${ARG_CLIENT_ONLY}>:client_only=${ARG_CLIENT_ONLY}:>")
  set(sources)
  foreach(proto IN LISTS ARG_PROTOS)
    string(REGEX REPLACE "\\.proto$" "" stem "${proto}")
    set(produced "${out}/${stem}.pb-c.c" "${out}/${stem}.pb-c.h")
    if(ARG_GRPC)
      cmake_path(GET stem PARENT_PATH folder)
      file(MAKE_DIRECTORY "${out}/${folder}")
      set(stubs "${out}/${stem}.grpc.c" "${out}/${stem}.grpc.h")
      add_custom_command(OUTPUT ${produced} ${stubs}
        COMMAND ${PROTOC} -I${ARG_ROOT} --plugin=protoc-gen-grpc-c=$<TARGET_FILE:protoc-gen-grpc-c> --grpc-c_out=${grpc_c_options}${out}
          --include_imports --include_source_info --descriptor_set_out=${out}/${stem}.set ${ARG_ROOT}/${proto}
        COMMAND protoc-gen-grpc-c --without-services ${out}/${stem}.set ${out}/${stem}.messages.set
        COMMAND ${PROTOC} --descriptor_set_in=${out}/${stem}.messages.set ${messages} ${proto}
        DEPENDS ${depends} protoc-gen-grpc-c VERBATIM COMMENT "protoc-c and protoc-gen-grpc-c ${proto}")
      # Our own output is held to our own warnings; protoc-c's is not.
      set_source_files_properties("${out}/${stem}.grpc.c" PROPERTIES
        COMPILE_OPTIONS "$<TARGET_PROPERTY:leadrouter_warnings,INTERFACE_COMPILE_OPTIONS>")
      list(APPEND sources ${stubs})
    else()
      add_custom_command(OUTPUT ${produced} COMMAND ${PROTOC} -I${ARG_ROOT} ${messages} ${ARG_ROOT}/${proto}
        DEPENDS ${depends} VERBATIM COMMENT "protoc-c ${proto}")
    endif()
    list(APPEND sources ${produced})
  endforeach()
  add_library(${target} STATIC ${sources})
  # Generated headers count as the system's: protoc-c's initialisers cast const away.
  target_include_directories(${target} SYSTEM PUBLIC "${out}")
  target_link_libraries(${target} PUBLIC leadrouter_flags PkgConfig::PROTOBUF_C ${ARG_LINK})
  if(ARG_GRPC)
    target_link_libraries(${target} PUBLIC leadrouter_grpc_c leadrouter_base)
  endif()
endfunction()
