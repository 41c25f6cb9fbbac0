#!/usr/local/bin/perl -T

# Guest book. Put it into cgi-bin, make guests.txt writable for the web server.

$ENV{'PATH'} = '/bin:/usr/bin';
$book  = "../data/guests.txt";
$limit = 2000;          # characters of a message
$per_page = 25;

require "ctime.pl" if $] < 5;

&read_form;
if ($FORM{'action'} eq 'sign') {
    &check;
    &sign;
}
&show;
exit 0;

sub read_form {
    local($buffer, @pairs, $name, $value);
    if ($ENV{'REQUEST_METHOD'} eq 'POST') {
        read(STDIN, $buffer, $ENV{'CONTENT_LENGTH'});
    } else {
        $buffer = $ENV{'QUERY_STRING'};
    }
    @pairs = split(/&/, $buffer);
    foreach $pair (@pairs) {
        ($name, $value) = split(/=/, $pair, 2);
        $value =~ tr/+/ /;
        $value =~ s/%([a-fA-F0-9][a-fA-F0-9])/pack("C", hex($1))/eg;
        $value =~ s/&/&amp;/g;
        $value =~ s/</&lt;/g;
        $value =~ s/>/&gt;/g;
        $value =~ s/"/&quot;/g;
        $FORM{$name} = $value;
    }
}

sub check {
    &oops("Please tell us your name.") unless $FORM{'name'} =~ /\S/;
    &oops("Your message is longer than $limit characters.") if length($FORM{'message'}) > $limit;
    &oops("No links, please.") if $FORM{'message'} =~ m#https?://#i;
}

sub sign {
    local($now) = time;
    $FORM{'message'} =~ s/\r?\n/<br>/g;
    $FORM{'message'} =~ s/\t/ /g;
    open(BOOK, ">>$book") || &oops("The book cannot be opened: $!");
    flock(BOOK, 2);
    print BOOK join("\t", $now, $FORM{'name'}, $FORM{'town'}, $FORM{'message'}), "\n";
    close(BOOK);
}

sub show {
    local(@entries, $first);
    if (open(BOOK, $book)) {
        @entries = reverse <BOOK>;
        close(BOOK);
    }
    $first = int($FORM{'page'}) * $per_page;
    print "Content-type: text/html\n\n";
    print <<"HEAD";
<html><head><title>Guest book</title></head>
<body bgcolor="#ffffee">
<h1>Guest book</h1>
<p>@{[ scalar @entries ]} people have written here.</p>
HEAD
    foreach (splice(@entries, $first, $per_page)) {
        chomp;
        ($when, $name, $town, $message) = split(/\t/);
        ($day, $month, $year) = (localtime($when))[3, 4, 5];
        printf "<p><b>%s</b> (%s), %d.%d.%d<br>%s</p>\n", $name, $town, $day, $month + 1, $year + 1900, $message;
    }
    print "<hr></body></html>\n";
}

sub oops {
    print "Content-type: text/html\n\n<html><body><h1>Sorry</h1><p>$_[0]</p></body></html>\n";
    exit 0;
}
