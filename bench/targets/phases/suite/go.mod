module phases/suite

go 1.25
