#pragma once
// Stands in for a header libtorch does not ship; nothing of it is used.
