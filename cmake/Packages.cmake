# Debian packages: `cpack --config build/release/CPackConfig.cmake` makes leadrouterd, leadctl and libleadrouter-client-dev of what
# `cmake --install` would install with /usr as the prefix. What programs depend on is read from them;
# what building with the library takes is listed.
set(LEADROUTER_MAINTAINER "leadrouter <root@localhost>" CACHE STRING "Whom the packages name as their maintainer")

set(scripts "${PROJECT_SOURCE_DIR}/deploy/debian")

set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL leadrouterd leadctl client)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_CONTACT "${LEADROUTER_MAINTAINER}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "leadrouter, a lead-routing service")
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)

set(CPACK_DEBIAN_LEADROUTERD_PACKAGE_NAME leadrouterd)
set(CPACK_DEBIAN_LEADROUTERD_PACKAGE_SECTION net)
set(CPACK_DEBIAN_LEADROUTERD_PACKAGE_RECOMMENDS leadctl)
set(CPACK_DEBIAN_LEADROUTERD_PACKAGE_SUGGESTS postgresql-15)
set(CPACK_DEBIAN_LEADROUTERD_PACKAGE_CONTROL_EXTRA "${scripts}/postinst;${scripts}/prerm;${scripts}/postrm")
set(CPACK_COMPONENT_LEADROUTERD_DESCRIPTION
  "The server, with its unit of systemd. It routes sales leads over gRPC, by rules that are kept in PostgreSQL 15.")

set(CPACK_DEBIAN_LEADCTL_PACKAGE_NAME leadctl)
set(CPACK_DEBIAN_LEADCTL_PACKAGE_SECTION admin)
set(CPACK_COMPONENT_LEADCTL_DESCRIPTION
  "The command line: imports leads, edits rules and shows how routing is doing, by asking a leadrouterd.")

set(CPACK_DEBIAN_CLIENT_PACKAGE_NAME libleadrouter-client-dev)
set(CPACK_DEBIAN_CLIENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_CLIENT_PACKAGE_DEPENDS "libgrpc-dev, libprotobuf-c-dev, libssl-dev, zlib1g-dev")
set(CPACK_COMPONENT_CLIENT_DESCRIPTION
  "The library for callers in C, shared and static, with its headers and the files of the protocol.")

include(CPack)
