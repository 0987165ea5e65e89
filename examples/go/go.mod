module example.com/mintage-examples

go 1.19
